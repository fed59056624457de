import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ChannelLog, LogError } from '../../src/log/channel-log.ts'
import { indexKey, indexKeys, keysOf, slotOf } from '../../src/log/redis-keys.ts'
import { openRedisLog } from '../../src/log/redis-log.ts'
import type { Entry } from '../../src/protocol/entry.ts'
import { type RedisProcess, startCluster, startRedis } from '../support/redis.ts'

const TIMEOUT_MS = 1_000
const LATER = Date.now() + 3_600_000
const DAMAGED = 'chat/damaged'
const KEYS = Array.from({ length: 12 }, (_, n) => `chat/${n}`)

const ending: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end()
})

async function open(url: string): Promise<ChannelLog> {
  const log = await openRedisLog({ url, ttlMs: 3_600_000, waitReplicas: 0, timeoutMs: TIMEOUT_MS })
  ending.push(() => log.close())
  return log
}

/** What a listener was told: the parts, each once, and what was wrong. */
function createTold() {
  const parts = new Map<string, LogError>()
  return {
    onFailed: (part: string, error: LogError) => void parts.set(part, error),
    parts: () => [...parts.keys()].sort(),
    messages: () => [...parts.values()].map(({ message }) => message),
  }
}

const turn: Record<'user' | 'typing' | 'a' | 'b' | 'end', Entry> = {
  user: { type: 'user_message', content: 'hi', turn_id: 't1', client_id: 'c1', conversation_id: 'v1' },
  typing: { type: 'typing', turn_id: 't1' },
  a: { type: 'ai_stream_chunk', turn_id: 't1', content: 'a', metadata: { index: 0 } },
  b: { type: 'ai_stream_chunk', turn_id: 't1', content: 'b', metadata: { index: 1 } },
  end: {
    ...{ type: 'ai_stream_end', turn_id: 't1', outcome: 'completed', finish_reason: 'stop', usage: null },
    ...{ content: '', metadata: { total_words: 1 } },
  },
}

async function tell(log: ChannelLog, key: string, ...entries: readonly Entry[]): Promise<void> {
  for (const [at, entry] of entries.entries())
    await log.append(key, entry, { producer: entry.type, sequence: at + 1, seenHead: 0, epoch: 'e1' })
}

describe('one damaged channel', () => {
  let redis: RedisProcess
  let log: ChannelLog

  /** What is known of it is of a type that no script of ours expects. */
  async function damage(): Promise<void> {
    await redis.call('rename', keysOf(DAMAGED).meta, `${keysOf(DAMAGED).meta}:saved`)
    await redis.call('set', keysOf(DAMAGED).meta, 'x')
  }
  async function repair(): Promise<void> {
    await redis.call('rename', `${keysOf(DAMAGED).meta}:saved`, keysOf(DAMAGED).meta)
  }

  beforeEach(async () => {
    redis = await startRedis()
    ending.push(() => redis.close())
    log = await open(redis.url)
  })

  test('C14 the unfinished turns of all others are found; it is told each time, and found when it is repaired', async () => {
    for (const key of [DAMAGED, ...KEYS]) await tell(log, key, turn.user)
    await damage()
    for (let time = 1; time <= 2; time++) {
      const told = createTold()
      expect([...(await log.unfinished(told.onFailed))].sort()).toEqual([...KEYS].sort())
      expect(told.parts()).toEqual([DAMAGED])
      expect(told.messages()[0]).toMatch(/^Redis refused: WRONGTYPE/)
    }
    await expect(log.unfinished()).rejects.toMatchObject({ name: 'LogError', code: 'failed' })
    await repair()
    expect(await log.unfinished()).toContain(DAMAGED)
  })

  test.each(['meta', 'log', 'ended', 'folded'] as const)(
    'G7 its %s: the turns of all others are folded',
    async (which) => {
      for (const key of [DAMAGED, ...KEYS]) await tell(log, key, turn.user, turn.typing, turn.a, turn.b, turn.end)
      expect(await log.fold(1)).toBe(0)
      await redis.call('del', keysOf(DAMAGED)[which])
      await redis.call('set', keysOf(DAMAGED)[which], 'x')
      for (const folded of [KEYS.length, 0]) {
        const told = createTold()
        expect(await log.fold(LATER, told.onFailed)).toBe(folded)
        expect(told.parts()).toEqual([DAMAGED])
      }
    },
  )

  test('G15 all others are forgotten; it is told each time, and forgotten when it is repaired', async () => {
    for (const key of [DAMAGED, ...KEYS]) await tell(log, key, turn.typing, turn.end)
    await damage()
    for (const forgotten of [KEYS, []]) {
      const told = createTold()
      expect([...(await log.expire(LATER, new Set(), told.onFailed))].sort()).toEqual([...forgotten].sort())
      expect(told.parts()).toEqual([DAMAGED])
    }
    await repair()
    expect(await log.expire(LATER, new Set())).toEqual([DAMAGED])
  })

  test('G15 somebody has it attached: all others that are attached are kept, and the rest is forgotten', async () => {
    const [kept = '', ...rest] = KEYS
    for (const key of [DAMAGED, ...KEYS]) await tell(log, key, turn.typing, turn.end)
    await damage()
    const told = createTold()
    expect([...(await log.expire(LATER, new Set([DAMAGED, kept]), told.onFailed))].sort()).toEqual(rest.sort())
    expect(told.parts()).toEqual([DAMAGED])
    expect(await redis.call('hget', keysOf(kept).meta, 'kept')).not.toBeNull()
  })

  test('a damaged shard of an index leaves those of the others', async () => {
    for (const key of KEYS) await tell(log, key, turn.user)
    const shard = indexKey('turns', KEYS[0] ?? '')
    await redis.call('del', shard)
    await redis.call('set', shard, 'x')
    const told = createTold()
    const others = KEYS.filter((key) => indexKey('turns', key) !== shard)
    expect([...(await log.unfinished(told.onFailed))].sort()).toEqual(others.sort())
    expect(told.parts()).toEqual([shard])
  })

  test('C14 what runs, or was begun a moment ago, is looked at by no process; what nobody has said to run for a while is', async () => {
    const other = await open(redis.url)
    for (const key of KEYS) await tell(log, key, turn.user)
    const notes = () => Promise.all(KEYS.map((key) => redis.call('zscore', indexKey('turns', key), key)))
    const noteAgo = (ms: number) =>
      Promise.all(KEYS.map((key) => redis.call('zadd', indexKey('turns', key), Date.now() - ms, key)))
    // Begun: its lease may be on the way.
    for (const one of [log, other]) expect(await one.unfinished(undefined, [])).toEqual([])
    await noteAgo(2_000)
    expect(await other.unfinished(undefined, [])).toEqual([])
    // It runs for long, and its process says so.
    await noteAgo(3_500)
    const before = await notes()
    const [dead = '', ...running] = KEYS
    expect(await log.unfinished(undefined, running)).toEqual([dead])
    expect((await notes()).filter((note, at) => Number(note) > Number(before[at]))).toHaveLength(running.length)
    for (const one of [log, other]) expect(await one.unfinished(undefined, [])).toEqual([dead])
    // It says nothing any more.
    await noteAgo(3_500)
    expect([...(await other.unfinished(undefined, []))].sort()).toEqual([...KEYS].sort())
    // The clock of a new master is behind that of the one which noted them.
    await noteAgo(-60_000)
    expect([...(await other.unfinished(undefined, []))].sort()).toEqual([...KEYS].sort())
  })

  test('channels whose turns are done are looked at again when they have new ones, and not before they settle', async () => {
    const calls = async () => Number(/evalsha:calls=(\d+)/.exec(String(await redis.call('info', 'commandstats')))?.[1])
    const looks = async () => {
      const before = await calls()
      const found = await log.unfinished()
      return { found, looks: (await calls()) - before - indexKeys('turns').length }
    }
    const noteAgo = (ms: number) =>
      Promise.all(KEYS.map((key) => redis.call('zadd', indexKey('turns', key), Date.now() - ms, key)))
    for (const key of KEYS) await tell(log, key, turn.user, turn.end)
    expect(await looks()).toEqual({ found: [], looks: KEYS.length })
    expect(await looks()).toEqual({ found: [], looks: KEYS.length })
    // As it is some seconds later.
    await noteAgo(10_000)
    expect(await looks()).toEqual({ found: [], looks: KEYS.length })
    expect(await looks()).toEqual({ found: [], looks: 0 })
    const [again = ''] = KEYS
    await log.append(again, { ...turn.typing, regenerates: 't0' } as Entry, {
      ...{ producer: 'again', sequence: 1, seenHead: 2, epoch: 'e1' },
    })
    expect(await looks()).toEqual({ found: [again], looks: 1 })
    // Folding looks at all.
    expect(await log.fold(1)).toBe(0)
    await noteAgo(31_000)
    // (A look each, and those that are done leave the index by another call.)
    expect(await looks()).toEqual({ found: [again], looks: 2 * KEYS.length - 1 })
    expect(await looks()).toEqual({ found: [again], looks: 1 })
  })
})

describe('a Cluster of which one master is gone', () => {
  test.each(['killed', 'frozen'] as const)(
    '%s: what is on the others is found, folded and forgotten, soon',
    async (how) => {
      const cluster = await startCluster()
      ending.push(() => cluster.close())
      const log = await open(cluster.url)
      const master = cluster.masters[0] as RedisProcess
      const isLost = (redisKey: string) => slotOf(redisKey) < 16_384 / 3
      const names = Array.from({ length: 600 }, (_, n) => `chat/${n}`)
      const found = names.filter((key) => !isLost(keysOf(key).meta) && !isLost(indexKey('turns', key)))
      const lost = names.filter((key) => isLost(keysOf(key).meta) && !isLost(indexKey('turns', key)))
      expect(Math.min(found.length, lost.length)).toBeGreaterThan(100)
      await Promise.all(names.map((key) => tell(log, key, turn.user)))
      if (how === 'killed') await master.kill()
      else master.freeze()
      ending.push(async () => master.wake())
      const told = createTold()
      const begin = performance.now()
      expect([...(await log.unfinished(told.onFailed))].sort()).toEqual(found.sort())
      // One timeout for the shards of the index, and one for the channels.
      expect(performance.now() - begin).toBeLessThan(2 * TIMEOUT_MS + 500)
      const shards = indexKeys('turns').filter(isLost)
      expect(told.parts()).toEqual(expect.arrayContaining(shards))
      expect(told.parts().filter((part) => !shards.includes(part) && !lost.includes(part))).toEqual([])
      expect(new Set(told.messages()).size).toBeLessThanOrEqual(3)

      await Promise.all(found.map((key) => tell(log, key, turn.user, turn.a, turn.b, turn.end)))
      const folded = found.filter((key) => !isLost(indexKey('ended', key)))
      expect(await log.fold(LATER, told.onFailed)).toBe(folded.length)
      const forgotten = found.filter((key) => !isLost(indexKey('channels', key)))
      expect([...(await log.expire(LATER, new Set(), told.onFailed))].sort()).toEqual(forgotten.sort())
    },
  )
})
