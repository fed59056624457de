import { afterAll, beforeAll, expect, test } from 'vitest'
import { keysOf } from '../../src/log/redis-keys.ts'
import { openRedisLog, type RedisLog } from '../../src/log/redis-log.ts'
import { type RedisProcess, startRedis } from '../support/redis.ts'
import { listen, say } from '../support/redis-heard.ts'

const TTL_MS = 10_000
let redis: RedisProcess
let log: RedisLog
let now = 1_000_000

beforeAll(async () => {
  redis = await startRedis()
  log = await openRedisLog({ url: redis.url, ttlMs: TTL_MS, waitReplicas: 0, now: () => now })
})
afterAll(async () => {
  await log.close()
  await redis.close()
})

const STORED = ['meta', 'log', 'ids'] as const
const lives = (key: string) =>
  Promise.all(STORED.map(async (name) => Number(await redis.call('pttl', keysOf(key)[name]))))

test('G15 Redis forgets a channel by itself some time after its last append, unless a turn of it is open', async () => {
  await say(log, 'room/a', 'one')
  for (const ms of await lives('room/a')) expect(ms).toBeGreaterThan(TTL_MS)

  const turn = { turn_id: 't1', client_id: 'c1', conversation_id: 'v1' } as const
  const by = { producer: 'p', seenHead: 0, epoch: 'e1' }
  await log.append('chat/a', { type: 'user_message', content: 'hi', ...turn }, { ...by, sequence: 'm1' })
  expect(await lives('chat/a')).toEqual([-1, -1, -1])
  const nothing = { finish_reason: 'stop', usage: null, content: '', metadata: { total_words: 0 } } as const
  await log.append(
    'chat/a',
    { type: 'ai_stream_end', turn_id: 't1', outcome: 'completed', ...nothing },
    { ...by, sequence: 'm2' },
  )
  for (const ms of await lives('chat/a')) expect(ms).toBeGreaterThan(TTL_MS)
})

test('G15 a channel that another process keeps is not forgotten by this one', async () => {
  const other = await openRedisLog({ url: redis.url, ttlMs: TTL_MS, waitReplicas: 0, now: () => now })
  await say(log, 'room/kept', 'one')
  await say(log, 'room/left', 'one')
  now += TTL_MS
  for (const name of STORED) await redis.call('pexpire', keysOf('room/kept')[name], 5_000)
  await other.expire(now - TTL_MS, new Set(['room/kept']))
  for (const ms of await lives('room/kept')) expect(ms).toBeGreaterThan(TTL_MS)
  now += 1
  const forgotten = await log.expire(now - 1, new Set())
  expect(forgotten).toContain('room/left')
  expect(forgotten).not.toContain('room/kept')
  await other.close()
})

test('G14 a lease that was taken before the first append: its fence holds, and the channel has no epoch yet', async () => {
  await redis.call('hincrby', keysOf('chat/leased').meta, 'fence', 7)
  expect(await log.head('chat/leased')).toEqual({ epoch: undefined, offset: 0 })
  const entry = { type: 'typing', turn_id: 't1' } as const
  const by = { producer: 'turn:t1', sequence: 1, seenHead: 0, epoch: 'e1' }
  await expect(log.append('chat/leased', entry, { ...by, fence: 6 })).rejects.toMatchObject({ code: 'fenced' })
  expect(await log.append('chat/leased', entry, { ...by, fence: 7 })).toEqual({
    epoch: 'e1',
    offset: 1,
    repeated: false,
  })
})

test('G8 entries that Redis evicted show as a new epoch, not as a hole', async () => {
  const heard = await listen(log, 'room/evicted')
  for (const content of ['one', 'two']) await say(log, 'room/evicted', content)
  await redis.call('del', keysOf('room/evicted').log)
  const { epoch, offset } = await say(log, 'room/evicted', 'three', { seenHead: 2 })
  expect(epoch).not.toBe('e1')
  expect(offset).toBe(1)
  expect(heard.resets.map((head) => head.epoch)).toEqual([epoch])
  // The head alone is as good as nothing.
  await redis.call('del', keysOf('room/evicted').meta)
  expect(await say(log, 'room/evicted', 'four', { epoch, seenHead: 1 })).toMatchObject({ offset: 1 })
  expect(heard.faults).toEqual([])
})

test('C5 what was judged by another incarnation of the log is refused as stale, however long both are', async () => {
  for (const content of ['one', 'two', 'three']) await say(log, 'room/judged', content)
  const { epoch } = await say(log, 'room/judged', 'new', { seenHead: 9 })
  expect(epoch).not.toBe('e1')
  const byTheOld = { epoch: 'e1', seenHead: 3, judgedAt: 3 }
  await expect(say(log, 'room/judged', 'old', byTheOld)).rejects.toMatchObject({ code: 'stale' })
  expect(await log.head('room/judged')).toEqual({ epoch, offset: 4 })
  expect(await say(log, 'room/judged', 'old', { epoch, seenHead: 4, judgedAt: 4 })).toMatchObject({ offset: 5 })
})

test.each([
  ['lost its last entries', async (key: string) => void (await redis.call('hset', keysOf(key).meta, 'head', 1))],
  ['lost all its entries', async (key: string) => void (await redis.call('del', keysOf(key).log))],
  ['is gone', async (key: string) => void (await redis.call('del', keysOf(key).meta, keysOf(key).log))],
  ['has another epoch', async (key: string) => void (await redis.call('hset', keysOf(key).meta, 'epoch', 'e2'))],
])('G8 C14 who holds a lease does not go on in a log that %s: there would be a hole', async (what, harm) => {
  const key = `chat/${what.replaceAll(' ', '-')}`
  const turn = { type: 'typing', turn_id: 't' } as const
  const by = { producer: 'turn:t', fence: 7, epoch: 'e1' }
  for (const [at, sequence] of ['one', 'two'].entries())
    expect(await log.append(key, turn, { ...by, sequence, seenHead: at })).toMatchObject({ offset: at + 1 })
  await harm(key)
  await expect(log.append(key, turn, { ...by, sequence: 'three', seenHead: 2 })).rejects.toMatchObject({
    code: 'fenced',
    message: 'the log is not the one that the lease is for',
  })
})

test('what a process does for a channel ends with its last follower', async () => {
  const end = log.follow('room/followed', { record: () => {}, reset: () => {} })
  await log.head('room/followed')
  await expect
    .poll(() => redis.call('pubsub', 'numsub', keysOf('room/followed').wake))
    .toMatchObject([expect.anything(), 1])
  end()
  await expect
    .poll(() => redis.call('pubsub', 'numsub', keysOf('room/followed').wake))
    .toMatchObject([expect.anything(), 0])
})
