import { type Entry, turnsOpenedBy } from '../protocol/entry.ts'
import { assertJudged } from './assert-judged.ts'
import {
  type Appended,
  type AppendOptions,
  type ChannelLog,
  type Head,
  LogError,
  type LogRecord,
} from './channel-log.ts'
import { foldTurn } from './fold-turn.ts'
import { createFollowers } from './followers.ts'
import { nextEpoch } from './incarnation.ts'
import { isWithin, takePage } from './read-page.ts'

interface Row extends LogRecord {
  readonly foldedFrom: number | undefined
  /** The row was made by folding: no producer wrote it. */
  readonly folded: boolean
}

/** What one producer wrote in a channel. Numbers rise, so that their last one says what is a repeat. */
interface Written {
  readonly offsets: Map<number | string, number>
  last: number
}

interface Channel {
  epoch: string
  replaced: string | undefined
  head: number
  fence: number | undefined
  open: number
  /** The offset of the last judged entry. */
  judged: number
  time: number
  rows: Row[]
  readonly producers: Map<string, Written>
  /** Terminal entries of turns that are not folded yet. */
  ended: { readonly offset: number; readonly time: number }[]
}

const NOTHING: Head = { epoch: undefined, offset: 0 }

/** A log that lives and dies with the process: for tests, and for servers that need not remember. `now` is in ms since 1970. */
export function createMemoryLog(options: { readonly now?: () => number } = {}): ChannelLog {
  const now = options.now ?? Date.now
  const channels = new Map<string, Channel>()
  const followers = createFollowers()
  let closed = false

  function assertOpen(): void {
    if (closed) throw new LogError('closed', 'the log is closed')
  }

  function append(key: string, entry: Entry, writer: AppendOptions): Appended {
    const known = channels.get(key)
    if (writer.fence !== undefined) {
      if (known?.fence !== undefined && writer.fence < known.fence)
        throw new LogError('fenced', 'a newer lease holds it')
      if (known !== undefined) known.fence = writer.fence
    }
    const repeated = known === undefined ? undefined : offsetWritten(known, writer)
    if (known !== undefined && repeated !== undefined) return { epoch: known.epoch, offset: repeated, repeated: true }

    assertJudged(known, writer)
    const { epoch, rolledBack } = nextEpoch(known, writer)
    const channel = known ?? createChannel(epoch, writer.fence)
    channels.set(key, channel)
    if (rolledBack) {
      channel.epoch = epoch
      channel.replaced = writer.epoch
      followers.reset(key, { epoch, offset: channel.head })
    }
    const row: Row = { offset: channel.head + 1, entry, text: JSON.stringify(entry), time: now(), ...UNFOLDED }
    write(channel, row, writer)
    followers.record(key, recordOf(row))
    return { epoch, offset: row.offset, repeated: false }
  }

  return {
    description: 'memory: everything is forgotten when the server stops',
    async append(key, entry, writer) {
      assertOpen()
      return append(key, entry, writer)
    },
    async head(key) {
      assertOpen()
      return headOf(channels.get(key))
    },
    async read(key, after, limit) {
      assertOpen()
      const channel = channels.get(key)
      const head = headOf(channel)
      const page = isWithin(head, after) ? takePage(rowsAfter(channel, after.offset), after.offset, limit) : undefined
      return page === undefined ? { honoured: false, head } : { honoured: true, head, records: page.map(recordOf) }
    },
    async find(key, producer, sequence) {
      assertOpen()
      const channel = channels.get(key)
      const offset = channel?.producers.get(producer)?.offsets.get(sequence)
      const row = offset === undefined ? undefined : channel?.rows.find((candidate) => candidate.offset === offset)
      return row === undefined || row.folded ? undefined : recordOf(row)
    },
    follow: (key, follower) => followers.add(key, follower),
    async unfinished() {
      assertOpen()
      return [...channels].filter(([, channel]) => channel.open > 0).map(([key]) => key)
    },
    async fold(endedBefore) {
      assertOpen()
      let folded = 0
      for (const channel of channels.values()) {
        const due = channel.ended.filter((end) => end.time < endedBefore)
        channel.ended = channel.ended.filter((end) => end.time >= endedBefore)
        for (const end of due) if (foldEnded(channel, end.offset)) folded += 1
      }
      return folded
    },
    async expire(appendedBefore, keep) {
      assertOpen()
      const old = [...channels].filter(([key, { time, open }]) => time < appendedBefore && open === 0 && !keep.has(key))
      for (const [key] of old) {
        channels.delete(key)
        followers.reset(key, NOTHING)
      }
      return old.map(([key]) => key)
    },
    async check() {
      assertOpen()
    },
    async close() {
      closed = true
    },
  }
}

const UNFOLDED = { foldedFrom: undefined, folded: false }

function createChannel(epoch: string, fence: number | undefined): Channel {
  const empty = { replaced: undefined, head: 0, open: 0, judged: 0, time: 0, rows: [], producers: new Map(), ended: [] }
  return { epoch, fence, ...empty }
}

function headOf(channel: Channel | undefined): Head {
  return channel === undefined ? NOTHING : { epoch: channel.epoch, offset: channel.head }
}

function recordOf({ offset, entry, text, time }: Row): LogRecord {
  return { offset, entry, text, time }
}

/** The offset that answers a repeat; undefined where this is none. */
function offsetWritten(channel: Channel, { producer, sequence }: AppendOptions): number | undefined {
  const written = channel.producers.get(producer)
  if (written === undefined) return undefined
  if (typeof sequence === 'string' || sequence > written.last) return written.offsets.get(sequence)
  return written.offsets.get(sequence) ?? written.offsets.get(written.last)
}

function write(channel: Channel, row: Row, { producer, sequence, judgedAt }: AppendOptions): void {
  const written = channel.producers.get(producer) ?? { offsets: new Map(), last: Number.NEGATIVE_INFINITY }
  channel.producers.set(producer, written)
  written.offsets.set(sequence, row.offset)
  if (typeof sequence === 'number') written.last = sequence
  channel.rows.push(row)
  channel.head = row.offset
  if (judgedAt !== undefined) channel.judged = row.offset
  channel.time = row.time
  channel.open = Math.max(0, channel.open + turnsOpenedBy(row.entry))
  if (row.entry.type === 'ai_stream_end') channel.ended.push({ offset: row.offset, time: row.time })
}

/** Readers are mostly near the head, so the place is looked for from there. */
function rowsAfter(channel: Channel | undefined, offset: number): Row[] {
  const rows = channel?.rows ?? []
  return rows.slice(rows.findLastIndex((row) => row.offset <= offset) + 1)
}

function foldEnded(channel: Channel, end: number): boolean {
  const fold = foldTurn(channel.rows.filter((row) => row.offset <= end).reverse())
  if (fold === undefined) return false
  const { first, last, message } = fold
  const dropped = new Set(fold.dropped)
  channel.rows = channel.rows.flatMap((row) => {
    if (row.offset < first || row.offset > last) return row
    if (dropped.has(row.offset)) return []
    if (row.offset < last) return { ...row, foldedFrom: first }
    return { ...row, entry: message, text: JSON.stringify(message), foldedFrom: first, folded: true }
  })
  return true
}
