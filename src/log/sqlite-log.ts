import { type Entry, turnsOpenedBy } from '../protocol/entry.ts'
import { type AppendOptions, type ChannelLog, LogError, type LogRecord, type OnPartFailed } from './channel-log.ts'
import { createFollowers } from './followers.ts'
import { inParts } from './in-parts.ts'
import { parseEntry } from './parse-entry.ts'
import { openStoreQueue, type SqliteStatistics } from './sqlite-queue.ts'
import type { EndedPlace, PartFailed, StoredRecord, StoreResults } from './sqlite-requests.ts'

/** See {@link openSqliteLog}. */
export interface SqliteLogOptions {
  /** The directory of the database; made where it is missing, for its owner alone. */
  readonly dataDir: string
  /** In ms since 1970. */
  readonly now?: () => number
}

/** A log in a file, and what it did so far. */
export interface SqliteLog extends ChannelLog {
  statistics(): SqliteStatistics
}

/**
 * Opens the log in `statewire.db` under a directory, for this process alone. What it acknowledges survives the end of
 * the process and a power cut. Rejects with {@link LogError} `failed` and a sentence for the operator where the file is in
 * use, damaged, newer or not ours; the file is then left as it was.
 */
export async function openSqliteLog({ dataDir, now = Date.now }: SqliteLogOptions): Promise<SqliteLog> {
  const followers = createFollowers()
  const queue = await openStoreQueue(dataDir, (keys) => {
    // What became of their last appends is not known: the channel's members are shown what there is now.
    for (const key of keys) {
      if (!followers.has(key)) continue
      const told = queue.ask({ op: 'head', key }, (head) => followers.reset(key, head))
      // A head that cannot be read is told by the members' own reads, which then fail as well.
      told.catch(() => undefined)
    }
  })

  const running = new Set<Promise<unknown>>()
  let closed = false

  /** For what a caller asks; what a slice of long work asks goes to the queue, so that it ends before the log closes. */
  const ask: typeof queue.ask = async (request, settled) => {
    if (closed) throw new LogError('closed', 'the log is closed')
    return queue.ask(request, settled)
  }

  async function inSlices<T>(work: () => Promise<T>): Promise<T> {
    if (closed) throw new LogError('closed', 'the log is closed')
    const done = work()
    running.add(done)
    return done.finally(() => running.delete(done))
  }

  async function append(key: string, entry: Entry, writer: AppendOptions) {
    const text = JSON.stringify(entry)
    const time = Math.floor(now())
    const opens = turnsOpenedBy(entry)
    const ends = entry.type === 'ai_stream_end'
    const { epoch, offset, repeated } = await ask({ op: 'append', key, text, time, opens, ends, writer }, (done) => {
      if (done.reset !== undefined) followers.reset(key, done.reset)
      if (!done.repeated) followers.record(key, { offset: done.offset, entry, text, time })
    })
    return { epoch, offset, repeated }
  }

  async function fold(endedBefore: number, onFailed: OnPartFailed): Promise<number> {
    let folded = 0
    for (let after: EndedPlace | undefined = FIRST; after !== undefined; ) {
      const slice: StoreResults['fold'] = await queue.ask({ op: 'fold', endedBefore, after })
      tell(slice.failed, onFailed)
      folded += slice.folded
      after = slice.next
    }
    return folded
  }

  async function expire(
    appendedBefore: number,
    keep: ReadonlySet<string>,
    onFailed: OnPartFailed,
  ): Promise<readonly string[]> {
    const expired: string[] = []
    for (let afterId: number | undefined = 0; afterId !== undefined; ) {
      const found: StoreResults['expirable'] = await queue.ask({ op: 'expirable', appendedBefore, afterId })
      tell(found.failed, onFailed)
      const keys = found.keys.filter((key) => !keep.has(key))
      afterId = found.next
      if (keys.length === 0) continue
      await queue.ask({ op: 'forget', keys, appendedBefore }, (forgotten) => {
        expired.push(...forgotten)
        for (const key of forgotten) followers.reset(key, { epoch: undefined, offset: 0 })
      })
    }
    for (let afterId: number | undefined = 0; afterId !== undefined; ) {
      const slice: StoreResults['sweep'] = await queue.ask({ op: 'sweep', afterId })
      tell(slice.failed, onFailed)
      afterId = slice.next
    }
    return expired
  }

  function tell(failed: readonly PartFailed[], onFailed: OnPartFailed): void {
    for (const { part, message } of failed) onFailed(part, new LogError('failed', `the log in ${dataDir}: ${message}`))
  }

  return {
    description: `sqlite in ${dataDir}`,
    append,
    head: (key) => ask({ op: 'head', key }),
    async read(key, after, limit) {
      const { head, records } = await ask({ op: 'read', key, after, limit })
      if (records === undefined) return { honoured: false, head }
      return { honoured: true, head, records: records.map((record) => toRecord(key, record)) }
    },
    async find(key, producer, sequence) {
      const stored = await ask({ op: 'find', key, producer, sequence })
      const record = stored === undefined ? undefined : toRecord(key, stored)
      const folded = stored?.foldedFrom !== undefined && record?.entry.type === 'ai_message'
      return folded ? undefined : record
    },
    follow: (key, follower) => followers.add(key, follower),
    unfinished: () => ask({ op: 'unfinished' }),
    fold: (endedBefore, onFailed) => inSlices(() => inParts(onFailed, (told) => fold(endedBefore, told))),
    expire: (appendedBefore, keep, onFailed) =>
      inSlices(() => inParts(onFailed, (told) => expire(appendedBefore, keep, told))),
    async check() {
      await ask({ op: 'check', time: Math.floor(now()) })
    },
    statistics: queue.statistics,
    async close() {
      closed = true
      await Promise.allSettled(running)
      await queue.close()
    },
  }
}

/** Before every turn that is to be folded. */
const FIRST: EndedPlace = [Number.MIN_SAFE_INTEGER, 0, 0]

function toRecord(key: string, { offset, text, time }: StoredRecord): LogRecord {
  const entry = parseEntry(text)
  if (entry === undefined) throw new LogError('failed', `the record of ${key} at offset ${offset} is damaged`)
  return { offset, entry, text, time }
}
