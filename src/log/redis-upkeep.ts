import { z } from 'zod'
import { foldTurn, type PlacedEntry } from './fold-turn.ts'
import { parseEntry } from './parse-entry.ts'
import type { RedisClient } from './redis-clients.ts'
import { indexKey, keysOf, scriptKeys } from './redis-keys.ts'
import type { AskOf, Round } from './redis-round.ts'
import { runScript } from './redis-script.ts'
import { EXPIRE, FOLD, KEEP, NOTE, NOTED, TURNS, UNNOTE } from './redis-upkeep-script.ts'

/**
 * The indexes beside the channels: which have turns, which have turns to fold, and all of them. They lie elsewhere than the
 * channels, so that nothing changes both at once. Therefore a channel is noted before a turn of it is opened, is looked at
 * whenever an index is read, and leaves the index only when it was found to be done some time after it was last noted.
 * While its turn runs, it is noted again and again: a turn whose process died is one of which that has not been heard for a
 * while, and nobody looks at the others.
 */
export interface RedisUpkeep {
  /** To be awaited before an entry that opens a turn is appended. */
  opening(key: string): Promise<void>
  /** A channel has its first entry. (Where this is lost, Redis forgets the channel all the same, in its time.) */
  created(key: string, time: number): Promise<void>
  /** See `ChannelLog`: to be called each second while turns run, as `running` is noted. */
  unfinished(round: Round, running?: Iterable<string>): Promise<readonly string[]>
  fold(endedBefore: number, round: Round): Promise<number>
  expire(
    appendedBefore: number,
    keep: ReadonlySet<string>,
    onForgotten: (key: string) => void,
    round: Round,
  ): Promise<void>
  /** Renews the channels that somebody has attached, where that was not done lately. */
  keep(keys: ReadonlySet<string>, time: number, round: Round): Promise<void>
}

/** Longer than an append may take after its channel was noted, whatever holds it up. */
const SETTLED_MS = 30_000
/** Longer than it takes in general: its deadline, after which it is not done any more, comes sooner. */
const APPENDED_MS = 3_000
/** For how long after it was noted a channel is not looked at: no longer than a lease, which is to end before it is taken up. */
const QUIET_MS = 3_000
const READ_BACK = 256
/** How many channels of a shard are looked at, and how many changed, at once. */
const LOOKS = 8
const CHANGES = 1
/** How many channels are renewed at once. */
const RENEWED = 16

const noted = z.array(z.tuple([z.string(), z.number(), z.string()]))
const turns = z.tuple([z.number(), z.string()])
const rows = z.array(z.tuple([z.string(), z.array(z.string())]))

type Scored = readonly [key: string, score: string]

/** `keptMs` is how long Redis keeps a channel by itself, `renewMs` how often one that is attached is renewed. */
export function createRedisUpkeep(client: RedisClient, keptMs: number, renewMs: number): RedisUpkeep {
  /** The notes of channels that were found done when no append was to be expected: they are left alone until they settle. */
  let done: ReadonlyMap<string, string> = new Map()
  const renewed = new Map<string, number>()

  async function turnsOf(key: string, ask: AskOf) {
    const keys = keysOf(key)
    return turns.parse(await ask(keys.meta, () => runScript(client, TURNS, scriptKeys(keys), [])))
  }
  const enter = (index: string, score: string, key: string, ask: AskOf) =>
    ask(index, () => client.zadd(index, score, key))
  const leave = (index: string, score: string, key: string, ask: AskOf) =>
    ask(index, () => runScript(client, UNNOTE, [index], [key, score]))

  /** Notes channels whose turns run, those of a shard together. */
  async function noteAll(keys: Iterable<string>, round: Round): Promise<void> {
    await round.each(
      LOOKS,
      Map.groupBy(keys, (key) => indexKey('turns', key)),
      async ([shard, ofShard], ask) => {
        await ask(shard, () => runScript(client, NOTE, [shard], ofShard))
      },
    )
  }

  /**
   * Looks at the channels that had turns lately, but not within `quietMs`; answers those that have open ones. `isWhole`: at
   * all of them, and enters those in the index of turns to fold that have such.
   */
  async function sweep(isWhole: boolean, quietMs: number, round: Round): Promise<string[]> {
    const open: string[] = []
    const found = new Map<string, string>()
    const read = async (shard: string) => noted.parse(await runScript(client, NOTED, [shard], [quietMs]))
    async function look([key, age, score]: z.infer<typeof noted>[number], ask: AskOf): Promise<void> {
      const isSettled = age > SETTLED_MS
      const isDone = !isWhole && !isSettled && done.get(key) === score
      const [count, oldest] = isDone ? [0, ''] : await turnsOf(key, ask)
      if (count > 0) open.push(key)
      else if (age > APPENDED_MS) found.set(key, score)
      if (oldest !== '' && (isWhole || isSettled)) await enter(indexKey('ended', key), oldest, key, ask)
      if (count === 0 && isSettled) await leave(indexKey('turns', key), score, key, ask)
    }
    await round.eachIn('turns', read, LOOKS, look)
    done = found
    return open
  }

  async function foldChannel([key, score]: Scored, endedBefore: number, ask: AskOf): Promise<number> {
    const keys = keysOf(key)
    const ofChannel = <R>(attempt: () => Promise<R>) => ask(keys.meta, attempt)
    const epoch = await ofChannel(() => client.hget(keys.meta, 'epoch'))
    let folded = 0
    for (const end of await ofChannel(() => client.zrangebyscore(keys.ended, '-inf', `(${endedBefore}`))) {
      const turn = await readBack(keys.log, end, ofChannel)
      const fold = foldTurn(turn.map(({ placed }) => placed))
      const time = turn.find(({ placed }) => placed.offset === fold?.last)?.time ?? ''
      // (A turn that cannot be read whole, or has no chunks, is let be for good.)
      const message = fold === undefined ? '' : `${fold.first} ${time} ${JSON.stringify(fold.message)}`
      const args = [epoch ?? '', end, fold?.last ?? '', message, ...(fold?.dropped ?? [])]
      folded += Number(await ofChannel(() => runScript(client, FOLD, scriptKeys(keys), args)))
    }
    const index = indexKey('ended', key)
    const [, oldest] = await turnsOf(key, ask)
    if (oldest === '') await leave(index, score, key, ask)
    else await enter(index, oldest, key, ask)
    return folded
  }

  /** The channels of a shard below a score, with theirs. */
  async function readBefore(shard: string, score: number): Promise<Scored[]> {
    const flat = await client.zrangebyscore(shard, '-inf', `(${score}`, 'WITHSCORES')
    return flat.flatMap((key, at): Scored[] => (at % 2 === 0 ? [[key, flat[at + 1] ?? '']] : []))
  }

  /** A turn from its end back to where the model was asked; nothing where a record of it is damaged. */
  async function readBack(log: string, end: string, ask: <R>(attempt: () => Promise<R>) => Promise<R>) {
    const found: { placed: PlacedEntry; time: string }[] = []
    let turnId: string | undefined
    for (let from = `${end}-0`; ; ) {
      const page = rows.parse(await ask(() => client.xrevrange(log, from, '-', 'COUNT', READ_BACK)))
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
    async unfinished(round, running) {
      if (running !== undefined) await noteAll(running, round)
      return sweep(false, running === undefined ? 0 : QUIET_MS, round)
    },
    async fold(endedBefore, round) {
      await sweep(true, 0, round)
      let folded = 0
      const fold = async (scored: Scored, ask: AskOf) => {
        const count = await foldChannel(scored, endedBefore, ask)
        folded += count
      }
      await round.eachIn('ended', (shard) => readBefore(shard, endedBefore), CHANGES, fold)
      return folded
    },
    async expire(appendedBefore, keep, onForgotten, round) {
      const read = async (shard: string) => (await readBefore(shard, appendedBefore)).filter(([key]) => !keep.has(key))
      async function expire([key, score]: Scored, ask: AskOf): Promise<void> {
        const index = indexKey('channels', key)
        const keys = keysOf(key)
        // Out of the index first: whoever begins it afresh right after it was forgotten enters it again.
        await ask(index, () => client.zrem(index, key))
        let since: unknown
        try {
          since = await ask(keys.meta, () => runScript(client, EXPIRE, scriptKeys(keys), [appendedBefore]))
        } catch (error) {
          // For the next time. (Where this fails, Redis forgets the channel by itself.)
          await ask(index, () => client.zadd(index, 'NX', score, key))
          throw error
        }
        if (typeof since === 'string') await enter(index, since, key, ask)
        if (since === 1) onForgotten(key)
      }
      await round.eachIn('channels', read, CHANGES, expire)
    },
    async keep(keys, time, round) {
      for (const key of renewed.keys()) if (!keys.has(key)) renewed.delete(key)
      async function renew([key]: readonly [string], ask: AskOf): Promise<void> {
        const { meta, ...others } = keysOf(key)
        await ask(meta, () => runScript(client, KEEP, scriptKeys({ meta, ...others }), [time, keptMs]))
        renewed.set(key, time)
      }
      const due = [...keys].filter((key) => time - (renewed.get(key) ?? 0) >= renewMs)
      const items = due.map((key) => [key] as const)
      await round.each(RENEWED, items, renew)
    },
  }
}
