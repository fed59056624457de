import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openRedisLog, type RedisLog } from '../../src/log/redis-log.ts'
import { type RedisProcess, startRedis, until } from '../support/redis.ts'
import { contentsOf, listen, say } from '../support/redis-heard.ts'
import { type RedisProxy, startRedisProxy } from '../support/redis-proxy.ts'

const KEY = 'room/a'
const TIMEOUT_MS = 1_000
/** What a promise may take beyond its time on a busy machine. */
const SLACK_MS = 500
const FAILED = { name: 'LogError', code: 'failed' }

let redis: RedisProcess
let proxy: RedisProxy
let near: RedisLog
let far: RedisLog

const open = (url: string) => openRedisLog({ url, ttlMs: 3_600_000, waitReplicas: 0, timeoutMs: TIMEOUT_MS })

/** Two nodes: `near` talks to Redis, `far` through the proxy. */
beforeEach(async () => {
  redis = await startRedis({ durable: true })
  proxy = await startRedisProxy(redis)
  near = await open(redis.url)
  far = await open(proxy.url)
})
afterEach(async () => {
  await near.close()
  await far.close()
  proxy.close()
  await redis.close()
})

/** Resolves when a log can be written to again. */
const healed = (log: RedisLog) =>
  until(() =>
    log.check().then(
      () => true,
      () => false,
    ),
  )

/** How everything settles that can be asked, and whether it did in time. */
async function askEverything(log: RedisLog) {
  const begin = performance.now()
  const asked = [
    say(log, KEY, 'lost?'),
    log.head(KEY),
    log.read(KEY, { epoch: 'e1', offset: 0 }, { records: 1, bytes: 1 }),
    log.find(KEY, 'p', 's'),
    log.unfinished(),
    log.fold(1),
    log.expire(1, new Set([KEY])),
    log.check(),
  ]
  const codes = await Promise.all(
    asked.map((each) =>
      each.then(
        () => 'done',
        (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
      ),
    ),
  )
  return { codes, tookMs: performance.now() - begin }
}

describe('replies are lost', () => {
  test('an append whose answer is swallowed is written once, told once, and answered as written', async () => {
    const heard = await listen(far, KEY)
    await say(far, KEY, 'one')
    proxy.swallowReplies()
    expect(await say(far, KEY, 'two')).toEqual({ epoch: 'e1', offset: 2, repeated: false })
    expect(far.statistics().retries).toBeGreaterThan(0)
    expect(await say(far, KEY, 'two')).toMatchObject({ offset: 2, repeated: true })
    expect(await say(near, KEY, 'three')).toMatchObject({ offset: 3 })
    await heard.said('three')
    expect(await contentsOf(near, KEY)).toEqual(['one', 'two', 'three'])
    expect(heard.records.map(({ offset }) => offset)).toEqual([1, 2, 3])
    expect(heard.faults).toEqual([])
  })

  test('of many channels at once, each entry is written once, and in order', async () => {
    const channels = Array.from({ length: 20 }, (_, n) => `room/${n}`)
    const contents = Array.from({ length: 10 }, (_, n) => `m${n}`)
    await Promise.all(channels.map((key) => say(far, key, 'first')))
    proxy.swallowReplies()
    await Promise.all(channels.flatMap((key) => contents.map((content) => say(far, key, content))))
    for (const key of channels) expect(await contentsOf(near, key)).toEqual(['first', ...contents])
  })
})

describe('wake-ups are lost', () => {
  test('pub/sub connections that are cut again and again: every entry is told, once, in order', async () => {
    const heard = await listen(far, KEY)
    const begin = await listen(near, KEY)
    let cut = 0
    for (let n = 0; n < 300; n++) {
      await say(near, KEY, `m${n}`)
      if (n % 30 === 29) cut += proxy.cutSubscribers()
    }
    await heard.said('m299')
    expect(cut).toBeGreaterThan(0)
    const told = heard.records.map(({ entry }) => entry.type === 'message' && entry.content)
    expect(told).toEqual(Array.from({ length: 300 }, (_, n) => `m${n}`))
    expect([...heard.faults, ...begin.faults]).toEqual([])
  })

  test('G1 the last wake-up is lost, and nothing follows it: its entry is found by its offset', async () => {
    const heard = await listen(far, KEY)
    await say(near, KEY, 'one')
    await heard.said('one')
    proxy.swallowWakeUps()
    await say(near, KEY, 'two')
    await heard.said('two')
    expect(heard.records.map(({ offset }) => offset)).toEqual([1, 2])
    expect(far.statistics().backfills).toBeGreaterThan(0)
  })

  test('G8 a follower whose proposal was not taken is told the epoch before the first entry', async () => {
    const heard = await listen(far, KEY)
    const { epoch } = await say(near, KEY, 'one', { epoch: 'theirs' })
    await heard.said('one')
    expect(heard.resets).toEqual([{ epoch, offset: 0 }])
    expect(await say(far, KEY, 'two', { epoch: 'mine' })).toEqual({ epoch: 'theirs', offset: 2, repeated: false })
  })
})

describe('Redis is away', () => {
  test('killed: everything fails within its time; it heals, and what was acknowledged is there', async () => {
    const heard = await listen(near, KEY)
    const { epoch } = await say(near, KEY, 'one')
    await redis.kill()
    const { codes, tookMs } = await askEverything(near)
    expect(codes).toEqual(codes.map(() => 'failed'))
    expect(tookMs).toBeLessThan(TIMEOUT_MS + SLACK_MS)
    await redis.restart()
    await healed(near)
    const place = { epoch, seenHead: heard.offset }
    expect(await say(near, KEY, 'two', place)).toMatchObject({ repeated: false })
    await heard.said('two')
    expect(await contentsOf(near, KEY)).toEqual(['one', 'two'])
    expect(heard.faults).toEqual([])
  })

  test('G8 another life of Redis may have lost entries: the next append begins a new epoch, told by a reset', async () => {
    const heard = await listen(far, KEY)
    await say(far, KEY, 'one')
    await redis.kill()
    await redis.restart()
    await healed(near)
    const { epoch, offset } = await say(near, KEY, 'two', { seenHead: 1 })
    expect(epoch).not.toBe('e1')
    expect(offset).toBe(2)
    await heard.said('two')
    // By the wake-up, or by its head where that had been missed.
    expect(heard.resets.map((head) => head.epoch)).toEqual([epoch])
    expect(heard.offset).toBe(2)
  })

  test('G8 restarted empty: followers are reset, and no offset is used twice under one epoch', async () => {
    const heard = await listen(far, KEY)
    for (const content of ['one', 'two', 'three']) await say(far, KEY, content)
    await redis.kill()
    await redis.restart({ empty: true })
    await heard.wasReset()
    expect(heard.resets[0]).toEqual({ epoch: undefined, offset: 0 })
    await healed(near)
    // A writer that has not heard of it.
    const { epoch, offset } = await say(near, KEY, 'four', { seenHead: 3 })
    expect(epoch).not.toBe('e1')
    expect(offset).toBe(1)
    await heard.said('four')
    expect(heard.epoch).toBe(epoch)
    expect(heard.faults).toEqual([])
  })

  test('frozen: everything fails within its time, as do 5,000 appends; once awake it heals, and nothing is there twice', async () => {
    const heard = await listen(near, KEY)
    await say(near, KEY, 'one')
    redis.freeze()
    const begin = performance.now()
    const flood = Array.from({ length: 5_000 }, (_, n) => say(near, `room/${n % 50}`, `m${n}`))
    const settled = Promise.allSettled(flood)
    const { codes, tookMs } = await askEverything(near)
    expect(codes).toEqual(codes.map(() => 'failed'))
    expect(tookMs).toBeLessThan(TIMEOUT_MS + SLACK_MS)
    expect((await settled).every(({ status }) => status === 'rejected')).toBe(true)
    expect(performance.now() - begin).toBeLessThan(TIMEOUT_MS + SLACK_MS)
    redis.wake()
    await healed(near)
    await say(near, KEY, 'lost?', { seenHead: 1 })
    await say(near, KEY, 'two', { seenHead: 1 })
    await heard.said('two')
    // What was asked of the frozen server may have been done by it.
    expect(await contentsOf(near, KEY)).toEqual(['one', 'lost?', 'two'])
    for (let n = 0; n < 50; n++) {
      const contents = await contentsOf(near, `room/${n}`)
      expect(new Set(contents).size).toBe(contents.length)
    }
    expect(heard.faults).toEqual([])
  })

  test('what waits for it is bounded', async () => {
    await say(near, KEY, 'one')
    redis.freeze()
    const long = 'x'.repeat(1_000_000)
    const flood = Array.from({ length: 100 }, (_, n) => say(near, `room/${n}`, `${n}${long}`))
    const begin = performance.now()
    await expect(flood.at(-1)).rejects.toMatchObject({ ...FAILED, message: 'too much waits for Redis' })
    expect(performance.now() - begin).toBeLessThan(SLACK_MS)
    await Promise.allSettled(flood)
    redis.wake()
  })
})
