import { afterEach, expect, test } from 'vitest'
import type { AppendOptions } from '../../src/log/channel-log.ts'
import { keysOf } from '../../src/log/redis-keys.ts'
import { openRedisLog, type RedisLog } from '../../src/log/redis-log.ts'
import { isReplicating, type RedisProcess, startRedis, until } from '../support/redis.ts'
import { contentsOf, listen, say } from '../support/redis-heard.ts'

const KEY = 'room/a'
const keys = keysOf(KEY)
const ALL = { records: 1_000, bytes: 1_000_000 }
const ending: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end()
})

async function start(args: readonly string[] = []): Promise<RedisProcess> {
  const redis = await startRedis({ args })
  ending.push(() => redis.close())
  return redis
}

async function open(redis: RedisProcess, waitReplicas = 0): Promise<RedisLog> {
  const log = await openRedisLog({ url: redis.url, ttlMs: 3_600_000, waitReplicas })
  ending.push(() => log.close())
  return log
}

/** Another server takes over that has the channel's entries up to an offset, and may or may not know that they were shown. */
async function takeOver(redis: RedisProcess, offset: number, { shown = offset }: { shown?: number } = {}) {
  const lost = (await redis.call('xrange', keys.log, `(${offset}-0`, '+')) as [string, string[]][]
  for (const [id, [, , , text]] of lost) {
    await redis.call('xdel', keys.log, id)
    await redis.call('hdel', keys.ids, JSON.stringify(['client:anonymous', JSON.parse(text as string).content]))
  }
  await redis.call('xsetid', keys.log, `${offset}-0`)
  await redis.call('hset', keys.meta, 'head', offset, 'shown', shown, 'store', 'another')
}

/** Whether somebody who holds the log up to there may go on. */
async function isHeld(log: RedisLog, epoch: string, offset: number): Promise<boolean> {
  return (await log.read(KEY, { epoch, offset }, ALL)).honoured
}

async function sayAll(log: RedisLog, contents: readonly string[], place: Partial<AppendOptions> = {}) {
  const done = []
  for (const content of contents) done.push(await say(log, KEY, content, place))
  return done
}

/** With and without replicas that confirm: the log, and Redis. */
async function deploy(waitReplicas: number) {
  const redis = await start()
  if (waitReplicas > 0) await isReplicating(await start(['--replicaof', '127.0.0.1', `${redis.port}`]), redis)
  return { redis, log: await open(redis, waitReplicas) }
}

for (const waitReplicas of [0, 1]) {
  const where = `REDIS_WAIT_REPLICAS=${waitReplicas}:`

  test(`G5 G8 ${where} what a failover lost is told, although as much has been written again before anyone looked`, async () => {
    const { redis, log } = await deploy(waitReplicas)
    const heard = await listen(log, KEY)
    await sayAll(log, ['one', 'two', 'three'])
    const late = await open(redis, waitReplicas)
    await takeOver(redis, 1)
    // By a node that knows nothing of what there was.
    expect(await late.head(KEY)).toMatchObject({ offset: 1 })
    const [first] = await sayAll(late, ['x', 'y', 'z'], { seenHead: 1 })
    expect(first?.epoch).not.toBe('e1')
    await heard.said('z')
    expect(heard.resets.at(-1)?.epoch).toBe(first?.epoch)
    expect(heard.faults).toEqual([])
    expect(await contentsOf(log, KEY)).toEqual(['one', 'x', 'y', 'z'])
    // Who held more than survived has a hole; who did not goes on.
    for (const node of [log, late]) {
      expect(await isHeld(node, 'e1', 1)).toBe(true)
      expect(await isHeld(node, 'e1', 2)).toBe(false)
      expect(await isHeld(node, 'e1', 3)).toBe(false)
      expect(await isHeld(node, first?.epoch ?? '', 4)).toBe(true)
    }
  })

  test(`G5 G8 ${where} a failover that lost nothing: whatever place somebody holds, he goes on from it`, async () => {
    const { redis, log } = await deploy(waitReplicas)
    const heard = await listen(log, KEY)
    await sayAll(log, ['one', 'two', 'three'])
    await takeOver(redis, 3)
    const done = await say(log, KEY, 'four', { seenHead: 3 })
    expect(done).toMatchObject({ offset: 4 })
    await heard.said('four')
    expect(heard.faults).toEqual([])
    const page = await log.read(KEY, { epoch: 'e1', offset: 2 }, ALL)
    expect(page).toMatchObject({
      honoured: true,
      head: { epoch: done.epoch, offset: 4 },
      records: [{ offset: 3 }, { offset: 4 }],
    })
    expect(await isHeld(log, 'e1', 3)).toBe(true)
    // Four was never written under that epoch.
    expect(await isHeld(log, 'e1', 4)).toBe(false)
    // A holder of the old place writes on, and causes no other epoch.
    expect(await say(log, KEY, 'five', { seenHead: 3, judgedAt: 4 })).toMatchObject({ epoch: done.epoch, offset: 5 })
  })

  test(`G5 ${where} of one failover after another, each takes what it lost from all epochs before it`, async () => {
    const { redis, log } = await deploy(waitReplicas)
    await sayAll(log, ['one', 'two', 'three'])
    await takeOver(redis, 3)
    const [second] = await sayAll(log, ['four', 'five'], { seenHead: 3 })
    await takeOver(redis, 2)
    const [third] = await sayAll(log, ['x', 'y', 'z'], { seenHead: 2 })
    expect(new Set(['e1', second?.epoch, third?.epoch]).size).toBe(3)
    for (const [epoch, offset, isThere] of [
      ['e1', 2, true],
      ['e1', 3, false],
      [second?.epoch ?? '', 2, true],
      [second?.epoch ?? '', 4, false],
      [third?.epoch ?? '', 5, true],
      ['e0', 1, false],
    ] as const)
      expect(await isHeld(log, epoch, offset), `${epoch}:${offset}`).toBe(isThere)
  })

  test(`G5 ${where} eight epochs are remembered; whoever holds an older one begins anew`, async () => {
    const { redis, log } = await deploy(waitReplicas)
    const epochs: string[] = []
    for (let n = 1; n <= 10; n++) {
      const { epoch } = await say(log, KEY, `m${n}`, { seenHead: n - 1, epoch: epochs.at(-1) ?? 'e1' })
      epochs.push(epoch)
      await takeOver(redis, n)
    }
    const { epoch } = await say(log, KEY, 'last', { seenHead: 10, epoch: epochs.at(-1) ?? '' })
    const held = await Promise.all(epochs.map((each) => isHeld(log, each, 1)))
    expect(held).toEqual([false, false, ...Array<boolean>(8).fill(true)])
    expect(await isHeld(log, epoch, 1)).toBe(true)
  })

  test(`C14 ${where} a turn goes on after a failover that kept all it said, and not after one that did not`, async () => {
    const { redis, log } = await deploy(waitReplicas)
    const turn = (content: string, seenHead: number) => say(log, KEY, content, { seenHead, fence: 5 })
    await turn('one', 0)
    await turn('two', 1)
    await takeOver(redis, 2)
    expect(await turn('three', 2)).toMatchObject({ offset: 3 })
    // Its node has not been told of the new epoch yet.
    expect(await turn('four', 2)).toMatchObject({ offset: 4 })
    await takeOver(redis, 1)
    await expect(turn('five', 2)).rejects.toMatchObject({ code: 'fenced' })
    await expect(turn('five', 4)).rejects.toMatchObject({ code: 'fenced' })
    await say(log, KEY, 'another', { seenHead: 1 })
    await expect(turn('five', 2)).rejects.toMatchObject({ code: 'fenced' })
    expect(await contentsOf(log, KEY)).toEqual(['one', 'another'])
  })
}

test('G8 entries that are gone although no other server took over: nobody goes on from where he was', async () => {
  const { redis, log } = await deploy(0)
  const heard = await listen(log, KEY)
  await sayAll(log, ['one', 'two', 'three'])
  const store = await redis.call('hget', keys.meta, 'store')
  await takeOver(redis, 2)
  await redis.call('hset', keys.meta, 'store', String(store))
  await heard.wasReset()
  expect(await isHeld(log, 'e1', 1)).toBe(false)
  expect(await contentsOf(log, KEY)).toEqual(['one', 'two'])
})

test('G5 REDIS_WAIT_REPLICAS=1: the stream is gone, and another server is read: nobody goes on from what stood in it', async () => {
  const { redis, log } = await deploy(1)
  await sayAll(log, ['one', 'two'])
  await takeOver(redis, 2)
  await redis.call('del', keys.log)
  expect((await log.head(KEY)).epoch).not.toBe('e1')
  expect(await isHeld(log, 'e1', 1)).toBe(false)
})

test.each(['this server', 'another server'])(
  'G5 G8 the stream is gone, and %s writes: nobody goes on from what stood in it',
  async (who) => {
    const { redis, log } = await deploy(0)
    await sayAll(log, ['one', 'two', 'three'])
    if (who === 'another server') await takeOver(redis, 3)
    // As where Redis had to evict it.
    await redis.call('del', keys.log)
    const [first] = await sayAll(log, ['x', 'y', 'z'], { seenHead: 3 })
    expect(first).toMatchObject({ offset: 1 })
    expect(first?.epoch).not.toBe('e1')
    for (const offset of [1, 2, 3]) expect(await isHeld(log, 'e1', offset)).toBe(false)
    expect(await contentsOf(log, KEY)).toEqual(['x', 'y', 'z'])
  },
)

test('G8 Redis is emptied while a second entry is on its way: it is not written as the first one of the same log', async () => {
  const { redis, log } = await deploy(0)
  const heard = await listen(log, KEY)
  await say(log, KEY, 'one')
  await redis.call('flushall')
  // By a writer that had not seen the first one when he began.
  expect((await say(log, KEY, 'two', { seenHead: 0 })).epoch).not.toBe('e1')
  expect(heard.resets).toHaveLength(1)
  expect(await contentsOf(log, KEY)).toEqual(['two'])
})

test('G8 whoever reads a log has its followers told of its epoch first, and late words of the one before tell nothing', async () => {
  const { redis, log } = await deploy(0)
  const other = await open(redis)
  const heard = await listen(log, KEY)
  await sayAll(log, ['one', 'two'])
  await takeOver(redis, 2)
  const { epoch } = await log.head(KEY)
  expect(heard.resets).toEqual([{ epoch, offset: 2 }])
  const late = JSON.stringify({ type: 'message', content: 'lost', client_id: 'c1' })
  for (const offset of [3, 4]) await redis.call('publish', keys.wake, `e1 ${offset} 1 ${late}`)
  await sayAll(other, ['three', 'four'], { epoch: epoch ?? '', seenHead: 2 })
  await heard.said('four')
  expect(heard.records.map(({ entry }) => 'content' in entry && entry.content)).toEqual(['one', 'two', 'three', 'four'])
  expect(heard.faults).toEqual([])
})

test.each([
  ['is full', 'maxmemory', '1'],
  ['lacks the replicas that it wants', 'min-replicas-to-write', '1'],
])('G8 a successor that %s, and takes no writes, is read all the same', async (_why, setting, value) => {
  const { redis, log } = await deploy(0)
  await sayAll(log, ['one', 'two'])
  await takeOver(redis, 2)
  const [, before] = (await redis.call('config', 'get', setting)) as [string, string]
  await redis.call('config', 'set', setting, value)
  expect(await contentsOf(log, KEY)).toEqual(['one', 'two'])
  expect(await isHeld(log, 'e1', 2)).toBe(true)
  await redis.call('config', 'set', setting, before)
  expect((await log.head(KEY)).epoch).not.toBe('e1')
  expect(await isHeld(log, 'e1', 2)).toBe(true)
})

test('what a failover left is read when replicas have confirmed it, not before, and all of it', async () => {
  const redis = await start()
  const replica = await start(['--replicaof', '127.0.0.1', `${redis.port}`])
  await isReplicating(replica, redis)
  const log = await open(redis, 1)
  await sayAll(log, ['one', 'two', 'three'])
  // All had been shown; its successor knows of one.
  await takeOver(redis, 3, { shown: 1 })
  replica.freeze()
  for (let n = 0; n < 3; n++) await expect(log.head(KEY)).rejects.toMatchObject({ code: 'failed' })
  await expect(isHeld(log, 'e1', 3)).rejects.toMatchObject({ code: 'failed' })
  replica.wake()
  await until(() =>
    log.head(KEY).then(
      () => true,
      () => false,
    ),
  )
  expect(await contentsOf(log, KEY)).toEqual(['one', 'two', 'three'])
  expect(await isHeld(log, 'e1', 3)).toBe(true)
})
