import type { DatabaseSync } from 'node:sqlite'
import type { Head } from './channel-log.ts'
import { numberOf, optionalNumberOf, textOf } from './sqlite-row.ts'

/** How many channels' state is kept in memory; an idle one costs three look-ups when it is next written to. */
const CACHED_CHANNELS = 10_000
/** How many counting producers of a channel are kept in memory: a turn that runs, and a few that wait. */
const CACHED_PRODUCERS = 8

/** What a producer that counts wrote: the offset of its first entry, its last number, and where that stands. */
export interface Counted {
  readonly first: number
  last: number
  offset: number
}

/** A channel as its next append needs it. */
export interface StoredChannel {
  readonly id: number
  epoch: string
  /** The epoch that this one took the place of since the channel was last loaded. */
  replaced: string | undefined
  head: number
  fence: number | undefined
  open: number
  /** The offset of the last judged entry of this process; no other one writes. */
  judged: number
  /** When the last entry was appended, in ms since 1970. */
  time: number
  readonly producers: Map<string, Counted>
}

/** The channels that were used lately. What it says is only true until a transaction fails: `clear` then. */
export interface StoredChannels {
  get(key: string): StoredChannel | undefined
  put(key: string, channel: StoredChannel): void
  remember(channel: StoredChannel, producer: string, counted: Counted): void
  drop(key: string): void
  clear(): void
}

/** The newest position of a channel. */
export function headOf(channel: StoredChannel | undefined): Head {
  return { epoch: channel?.epoch, offset: channel?.head ?? 0 }
}

/** Reads channels from the database, and keeps those that are used. */
export function createStoredChannels(database: DatabaseSync): StoredChannels {
  const selectChannel = database.prepare('SELECT id, epoch, fence, open FROM channels WHERE key = ?')
  const selectLast = database.prepare('SELECT offset, time FROM entries WHERE channel = ? ORDER BY offset DESC LIMIT 1')
  const cache = new Map<string, StoredChannel>()

  function load(key: string): StoredChannel | undefined {
    const row = selectChannel.get(key)
    if (row === undefined) return undefined
    const id = numberOf(row, 'id')
    const last = selectLast.get(id)
    if (last === undefined) throw new Error('a channel has no entries')
    return {
      id,
      epoch: textOf(row, 'epoch'),
      replaced: undefined,
      head: numberOf(last, 'offset'),
      fence: optionalNumberOf(row, 'fence'),
      open: numberOf(row, 'open'),
      judged: 0,
      time: numberOf(last, 'time'),
      producers: new Map(),
    }
  }

  /** The most recently used stand last. */
  function put(key: string, channel: StoredChannel): void {
    cache.delete(key)
    cache.set(key, channel)
    dropOldest(cache, CACHED_CHANNELS)
  }

  return {
    get(key) {
      const channel = cache.get(key) ?? load(key)
      if (channel !== undefined) put(key, channel)
      return channel
    },
    put,
    remember(channel, producer, counted) {
      channel.producers.delete(producer)
      channel.producers.set(producer, counted)
      dropOldest(channel.producers, CACHED_PRODUCERS)
    },
    drop: (key) => cache.delete(key),
    clear: () => cache.clear(),
  }
}

function dropOldest(map: Map<string, unknown>, size: number): void {
  if (map.size <= size) return
  for (const key of map.keys()) {
    map.delete(key)
    return
  }
}
