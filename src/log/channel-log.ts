import type { Entry } from '../protocol/entry.ts'
import type { Position } from '../protocol/position.ts'

/** Who writes an entry, and under which conditions. */
export interface AppendOptions {
  /** Who writes: `client:<principal>` for frames of a client, `turn:<turn id>` for what a turn says. */
  readonly producer: string
  /**
   * The producer's number or id of this entry. A pair (producer, sequence) is written once, as long as the channel lives.
   * A producer's numbers rise: one that is not above its last is a repeat, and costs no memory of its own.
   */
  readonly sequence: number | string
  /**
   * The token of the writer's lease. An append with a lower one than the channel has seen throws `fenced`, and so does one
   * to a log that has changed since `seenHead` under `epoch`: what a turn said would go on after a hole.
   */
  readonly fence?: number
  /**
   * For an entry that was judged by what stands before it, as clients' are: the offset up to which its writer has read.
   * Where another judged entry stands above it, or it was judged by another incarnation of the log, the append throws
   * `stale`; by then the writer's follower has been told of that one, so that it can be judged anew.
   */
  readonly judgedAt?: number
  /** The highest offset that the writer has seen. A head below it means that the store was rolled back: a new epoch begins. */
  readonly seenHead: number
  /** The epoch that the writer knows, or proposes where the channel has no entry yet. */
  readonly epoch: string
}

/** Under what an entry is written at all. */
export type AppendCondition = Pick<AppendOptions, 'fence' | 'judgedAt'>

/** Where an entry stands. `repeated` when this (producer, sequence) was there before and nothing was written. */
export interface Appended extends Position {
  readonly repeated: boolean
}

/** One stored entry. `text` is its JSON, as stored; `time` is when it was appended, in ms since 1970. */
export interface LogRecord {
  readonly offset: number
  readonly entry: Entry
  readonly text: string
  readonly time: number
}

/** The newest position of a channel. `epoch` is undefined where nothing was ever appended; `offset` is then 0. */
export interface Head {
  readonly epoch: string | undefined
  readonly offset: number
}

/**
 * What a read found: the records after the position, in order, and the head at that moment. `honoured: false` when
 * the position is above the head, of another epoch (offset 0 excepted), before what is kept, or inside a folded turn.
 * A log that had lost its end, or might have, can go on under a new epoch from where it is whole: positions of the old one
 * up to there are honoured, and those above are not. The head tells the new epoch, and the channel's followers have been reset
 * to it before anybody is answered by it.
 */
export type ReadResult =
  | { readonly honoured: true; readonly head: Head; readonly records: readonly LogRecord[] }
  | { readonly honoured: false; readonly head: Head }

/**
 * How much one read may return. At least one record is returned where there is one, and a page goes on past its limit
 * rather than end inside a folded turn, from where the next read would not be honoured.
 */
export interface ReadLimit {
  readonly records: number
  /** The sum of the records' `text` lengths. */
  readonly bytes: number
}

/** Gets what is appended to a channel, in order, after it is safe and before the append's promise settles. Must not throw. */
export interface Follower {
  record(record: LogRecord): void
  /**
   * The channel's log is another incarnation now (rolled back, lost, expired), or its last entries may have been missed:
   * `head` is what there is. `record` goes on with what comes after it. Whether what had been told still stands, a `read`
   * from there tells.
   */
  reset(head: Head): void
  /**
   * The store does not answer: nothing is told until it does. Told within a second of its silence, once each time; left
   * out by who has nobody to tell, and by logs that have no such store.
   */
  unreachable?(): void
}

/**
 * Why the log did not do what was asked. `failed` shows nothing to anyone, and leaves nothing written but where too few
 * replicas have it yet: that may be shown later, and a repeat under its sequence finds it. `fenced` says that the writer lost its lease,
 * `stale` that another judged entry came first.
 */
export type LogErrorCode = 'failed' | 'fenced' | 'stale' | 'closed'

/** Every rejection of a {@link ChannelLog}. */
export class LogError extends Error {
  readonly code: LogErrorCode
  constructor(code: LogErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LogError'
    this.code = code
  }
}

/** A `failed` that passes: the store did not answer in time. */
export class LogUnreachable extends LogError {
  constructor(message: string, options?: ErrorOptions) {
    super('failed', message, options)
    this.name = 'LogUnreachable'
  }
}

/**
 * Told of one channel (by its key), or one part of the store, for which long work failed: it is tried again the next time.
 * The work is done for all others, and its promise resolves.
 */
export type OnPartFailed = (part: string, error: LogError) => void

/**
 * The ordered logs of all channels, by channel key (`ai-chat/<name>`, `chat/<name>`, `room/<name>`). What it has
 * acknowledged is safe from whatever the adapter promises to be safe from. Every promise rejects with {@link LogError}.
 */
export interface ChannelLog {
  /** In words for the start-up log, such as `sqlite in ./data`. */
  readonly description: string
  /** Checks the fence, answers a repeat, assigns head + 1, in one atomic step. */
  append(key: string, entry: Entry, options: AppendOptions): Promise<Appended>
  head(key: string): Promise<Head>
  read(key: string, after: Position, limit: ReadLimit): Promise<ReadResult>
  /** The entry that a producer wrote under a sequence; undefined where there is none, or where it has been folded. */
  find(key: string, producer: string, sequence: number | string): Promise<LogRecord | undefined>
  /** Begins to follow a channel, at once; answers the function that ends it. */
  follow(key: string, follower: Follower): () => void
  /**
   * The keys of channels with a turn that has no terminal entry. Here and below, without `onFailed` the promise rejects for
   * a part that failed, after the rest was done. With `running`, the channels whose turns this process runs, a log that
   * processes share may leave out those of which any process said so within the last seconds, or opened a turn.
   */
  unfinished(onFailed?: OnPartFailed, running?: Iterable<string>): Promise<readonly string[]>
  /**
   * Replaces the chunks of each turn that ended before `endedBefore` (ms since 1970) by one `ai_message` at the offset of
   * the last of them. Positions from the first chunk up to, not including, the last are not honoured afterwards.
   * Answers how many turns were folded.
   */
  fold(endedBefore: number, onFailed?: OnPartFailed): Promise<number>
  /**
   * Forgets channels whose last append was before `appendedBefore` (ms since 1970), except those in `keep` and those with
   * a turn that has no terminal entry. Answers their keys; their followers are reset.
   */
  expire(appendedBefore: number, keep: ReadonlySet<string>, onFailed?: OnPartFailed): Promise<readonly string[]>
  /** Resolves where an append would work now, else rejects with the reason. */
  check(): Promise<void>
  /** Finishes what was asked, then lets go of files and connections. */
  close(): Promise<void>
}
