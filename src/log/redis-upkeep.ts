import { z } from 'zod'
import { foldTurn, type PlacedEntry } from './fold-turn.ts'
import { parseEntry } from './parse-entry.ts'
import type { RedisClient } from './redis-clients.ts'
import { indexKey, indexKeys, keysOf, scriptKeys } from './redis-keys.ts'
import { runScript } from './redis-script.ts'
import { EXPIRE, FOLD, KEEP, NOTE, NOTED, TURNS, UNNOTE } from './redis-upkeep-script.ts'

/**
 * The indexes beside the channels: which have turns, which have turns to fold, and all of them. They lie elsewhere than the
 * channels, so that nothing changes both at once. Therefore a channel is noted before a turn of it is opened, is looked at
 * whenever an index is read, and leaves the index only when it was found to be done some time after it was last noted.
 */
export interface RedisUpkeep {
  /** To be awaited before an entry that opens a turn is appended. */
  opening(key: string): Promise<void>
  /** A channel has its first entry. (Where this is lost, Redis forgets the channel all the same, in its time.) */
  created(key: string, time: number): Promise<void>
  unfinished(): Promise<readonly string[]>
  fold(endedBefore: number): Promise<number>
  /** Answers the forgotten keys as they go. */
  expire(appendedBefore: number, keep: ReadonlySet<string>): AsyncGenerator<string>
  keep(key: string, time: number): Promise<void>
}

/** Longer than an append may take after its channel was noted. */
const SETTLED_MS = 30_000
const READ_BACK = 256

const noted = z.array(z.tuple([z.string(), z.number(), z.string()]))
const turns = z.tuple([z.number(), z.string()])
const rows = z.array(z.tuple([z.string(), z.array(z.string())]))

/** `keptMs` is how long Redis keeps a channel by itself. */
export function createRedisUpkeep(client: RedisClient, keptMs: number): RedisUpkeep {
  const turnsOf = async (key: string) => turns.parse(await runScript(client, TURNS, scriptKeys(keysOf(key)), []))

  /** Looks at all channels that had turns lately. Answers those that have open ones. */
  async function sweep(): Promise<string[]> {
    const open: string[] = []
    for (const index of indexKeys('turns')) {
      for (const [key, age, score] of noted.parse(await runScript(client, NOTED, [index], []))) {
        const [count, oldest] = await turnsOf(key)
        if (count > 0) open.push(key)
        if (oldest !== '') await client.zadd(indexKey('ended', key), oldest, key)
        if (count === 0 && age > SETTLED_MS) await runScript(client, UNNOTE, [index], [key, score])
      }
    }
    return open
  }

  async function foldChannel(key: string, endedBefore: number, score: string): Promise<number> {
    const keys = keysOf(key)
    const epoch = await client.hget(keys.meta, 'epoch')
    let folded = 0
    for (const end of await client.zrangebyscore(keys.ended, '-inf', `(${endedBefore}`)) {
      const turn = await readBack(keys.log, end)
      const fold = foldTurn(turn.map(({ placed }) => placed))
      const time = turn.find(({ placed }) => placed.offset === fold?.last)?.time ?? ''
      // (A turn that cannot be read whole, or has no chunks, is let be for good.)
      const message = fold === undefined ? '' : `${fold.first} ${time} ${JSON.stringify(fold.message)}`
      const args = [epoch ?? '', end, fold?.last ?? '', message, ...(fold?.dropped ?? [])]
      folded += Number(await runScript(client, FOLD, scriptKeys(keys), args))
    }
    const index = indexKey('ended', key)
    const [, oldest] = await turnsOf(key)
    if (oldest === '') await runScript(client, UNNOTE, [index], [key, score])
    else await client.zadd(index, oldest, key)
    return folded
  }

  /** A turn from its end back to where the model was asked; nothing where a record of it is damaged. */
  async function readBack(log: string, end: string): Promise<{ placed: PlacedEntry; time: string }[]> {
    const found: { placed: PlacedEntry; time: string }[] = []
    let turnId: string | undefined
    for (let from = `${end}-0`; ; ) {
      const page = rows.parse(await client.xrevrange(log, from, '-', 'COUNT', READ_BACK))
      for (const [id, [, time = '', , text = '']] of page) {
        const entry = parseEntry(text)
        if (entry === undefined) return []
        found.push({ placed: { offset: Number.parseInt(id, 10), entry }, time })
        if (entry.type === 'ai_stream_end') turnId ??= entry.turn_id
        const isBegin = entry.type === 'typing' || entry.type === 'user_message'
        if (isBegin && entry.turn_id === turnId) return found
      }
      const last = page.at(-1)
      if (last === undefined || page.length < READ_BACK) return found
      from = `(${last[0]}`
    }
  }

  return {
    async opening(key) {
      await runScript(client, NOTE, [indexKey('turns', key)], [key])
    },
    async created(key, time) {
      await client.zadd(indexKey('channels', key), time, key)
    },
    unfinished: sweep,
    async fold(endedBefore) {
      await sweep()
      let folded = 0
      for (const index of indexKeys('ended')) {
        const due = await client.zrangebyscore(index, '-inf', `(${endedBefore}`, 'WITHSCORES')
        for (let at = 0; at + 1 < due.length; at += 2) {
          folded += await foldChannel(due[at] ?? '', endedBefore, due[at + 1] ?? '')
        }
      }
      return folded
    },
    async *expire(appendedBefore, keep) {
      for (const index of indexKeys('channels')) {
        for (const key of await client.zrangebyscore(index, '-inf', `(${appendedBefore}`)) {
          if (keep.has(key)) continue
          // Out of the index first: whoever begins it afresh right after it was forgotten enters it again.
          await client.zrem(index, key)
          const answer = await runScript(client, EXPIRE, scriptKeys(keysOf(key)), [appendedBefore])
          if (typeof answer === 'string') await client.zadd(index, answer, key)
          if (answer === 1) yield key
        }
      }
    },
    async keep(key, time) {
      await runScript(client, KEEP, scriptKeys(keysOf(key)), [time, keptMs])
    },
  }
}
