import type { AppendOptions, ChannelLog, Head, LogRecord } from '../../src/log/channel-log.ts'
import { until } from './redis.ts'

/** What a follower was told, checked as it comes: between resets, offsets rise one by one. */
export interface Heard {
  readonly records: readonly LogRecord[]
  readonly resets: readonly Head[]
  /** The epoch of the last reset; undefined where there was none. */
  readonly epoch: string | undefined
  /** The place after the last record or reset. */
  readonly offset: number
  /** What was wrong, in words. */
  readonly faults: readonly string[]
  /** Resolves when an entry with this content has been told, or read after a reset, as a channel does. */
  said(content: string): Promise<void>
  /** Resolves when there has been a reset. */
  wasReset(): Promise<void>
}

/** Follows a channel. Resolves when it is known from where: what others append from then on is told. */
export async function listen(log: ChannelLog, key: string): Promise<Heard> {
  const records: LogRecord[] = []
  const resets: Head[] = []
  const faults: string[] = []
  const known = new Set<string>()
  let offset: number | undefined
  log.follow(key, {
    record(record) {
      if (offset !== undefined && record.offset !== offset + 1) faults.push(`${record.offset} after ${offset}`)
      offset = record.offset
      records.push(record)
      known.add(contentOf(record))
    },
    reset(head) {
      offset = head.offset
      resets.push(head)
      void until(async () => {
        const contents = await contentsOf(log, key).catch(() => undefined)
        for (const content of contents ?? []) known.add(content)
        return contents !== undefined
      })
    },
  })
  await log.head(key)
  return {
    records,
    resets,
    faults,
    get epoch() {
      return resets.at(-1)?.epoch
    },
    get offset() {
      return offset ?? 0
    },
    said: (content) => until(() => known.has(content)),
    wasReset: () => until(() => resets.length > 0),
  }
}

/** Appends a message under its content as id; `place` is how far the writer has seen, by what it judged, and its fence. */
export function say(log: ChannelLog, key: string, content: string, place: Partial<AppendOptions> = {}) {
  const entry = { type: 'message', content, client_id: 'c1' } as const
  return log.append(key, entry, { producer: 'client:anonymous', sequence: content, seenHead: 0, epoch: 'e1', ...place })
}

/** The contents of a channel, from its beginning, in order; throws where a record is missing. */
export async function contentsOf(log: ChannelLog, key: string): Promise<readonly string[]> {
  const result = await log.read(key, { epoch: '', offset: 0 }, { records: 100_000, bytes: 1_000_000_000 })
  if (!result.honoured) throw new Error('the beginning was not honoured')
  const wrong = result.records.find(({ offset }, at) => offset !== at + 1)
  if (wrong !== undefined || result.records.length !== result.head.offset) throw new Error('a record is missing')
  return result.records.map(contentOf)
}

function contentOf({ entry }: LogRecord): string {
  return entry.type === 'message' ? entry.content : entry.type
}
