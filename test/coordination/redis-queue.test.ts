import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, type TestContext, test } from 'vitest'
import type { QueueLimits } from '../../src/coordination/fair-queue.ts'
import { createAsk, type RedisAsk } from '../../src/coordination/redis-ask.ts'
import { openRedisCoordination, type RedisCoordination } from '../../src/coordination/redis-coordination.ts'
import { createRedisQueue } from '../../src/coordination/redis-queue.ts'
import { createRedisQueueStore } from '../../src/coordination/redis-queue-store.ts'
import { createClient, whenReady } from '../../src/log/redis-clients.ts'
import { realClock } from '../../src/log/redis-deadline.ts'
import { parseRedisUrl } from '../../src/log/redis-url.ts'
import { createQueueUsers } from '../support/queue-users.ts'
import { type RedisProcess, startRedis, until } from '../support/redis.ts'
import { startRedisProxy } from '../support/redis-proxy.ts'

const LEASE_MS = 1_500
/** What something may take beyond its time on a busy machine. */
const SLACK_MS = 500
/** Most tests here wait for leases to end, and leave the processor idle: they wait together. */
const AT_ONCE = { concurrent: true }
const RUNNING = 'sw:{queue-chat}:running'

/** A Redis of the test's own, and who uses it. Of tests that run at once, the context tells which one has finished. */
async function setStage({ onTestFinished }: TestContext) {
  const redis = await startRedis({ durable: true })
  const opened: RedisCoordination[] = []
  onTestFinished(async () => {
    await Promise.all(opened.map((one) => one.close()))
    await redis.close()
  })

  /** A process's users of the one queue. Grants of all are written into `served`. */
  async function open(limits: QueueLimits, served: string[], { url = redis.url, timeoutMs = 1_000 } = {}) {
    const coordination = await openRedisCoordination({ url, leaseMs: LEASE_MS, timeoutMs })
    opened.push(coordination)
    const queue = coordination.queue('chat', limits)
    return { queue, coordination, ...createQueueUsers(queue, served) }
  }

  /** Another process that asks for places and keeps them; answers what it was told. */
  async function startOther({ concurrency, requests }: { concurrency: number; requests: number }) {
    const file = fileURLToPath(new URL('redis-queue-process.ts', import.meta.url))
    const args = [file, redis.url, `${LEASE_MS}`, `${concurrency}`, `${requests}`]
    const other = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void other.kill('SIGKILL'))
    const told: string[] = []
    createInterface({ input: other.stdout }).on('line', (line) => told.push(line))
    await until(() => told.length === requests)
    return { told, signal: (name: NodeJS.Signals) => other.kill(name) }
  }

  const runningInRedis = async () => Number(await redis.call('scard', RUNNING))
  return { redis, open, startOther, runningInRedis }
}

/** Long enough for a process to be known to the others. */
const renewed = () => pause(LEASE_MS / 2)

test('Q4 of 600 requests through three processes each is served once, and at most so many at once', async (context) => {
  const { redis, open, runningInRedis } = await setStage(context)
  const limits = { concurrency: 5, limit: 600 }
  const served: string[] = []
  // A busy machine that answers late must not pass for a Redis that is away.
  const all = await Promise.all([1, 2, 3].map(() => open(limits, served, { timeoutMs: 10_000 })))
  let running = 0
  let most = 0
  let cancelled = 0
  const begin = performance.now()
  const turns = Array.from({ length: 600 }, async (_, id) => {
    const { queue } = all[id % 3] ?? all[0] ?? expect.unreachable()
    await new Promise<void>((resolve) => {
      const ticket = queue.request(`user${id % 7}`, {
        async granted(release) {
          most = Math.max(most, ++running)
          served.push(`${id}`)
          await pause(id % 4)
          running--
          release()
          resolve()
        },
        moved() {
          if (id % 10 !== 9) return
          cancelled++
          ticket.cancel()
          resolve()
        },
        refused: () => expect.unreachable(),
      })
    })
  })
  await Promise.all(turns)
  console.log(`600 requests of three processes, 5 at once: ${Math.round(performance.now() - begin)} ms`)
  expect(most).toBe(5)
  expect(new Set(served).size).toBe(served.length)
  expect(served.length + cancelled).toBe(600)
  await until(async () => (await runningInRedis()) === 0)
  // Nothing of it is left but what the next one needs.
  for (const name of ['waiting', 'numbers', 'arrivals', 'lanes', 'sizes']) {
    expect(await redis.call('exists', `sw:{queue-chat}:${name}`)).toBe(0)
  }
})

describe('several processes', AT_ONCE, () => {
  test("Q4 nobody waits behind one user's hundred requests, though they come through another process", async (context) => {
    const { open } = await setStage(context)
    const served: string[] = []
    const limits = { concurrency: 1, limit: 200 }
    const [a, b] = [await open(limits, served), await open(limits, served)]
    for (let i = 0; i < 100; i++) void a.ask('greedy', `greedy${i}`)
    await until(() => a.queue.waiting() === 99 && a.told.length === 99)
    expect(await b.ask('ann', 'ann')).toBe(2)
    a.release('greedy0')
    await until(() => served.length === 2)
    a.release('greedy1')
    await until(() => served.length === 3)
    expect(served).toEqual(['greedy0', 'greedy1', 'ann'])
  })

  test('Q4 the places of a process that was killed come back within its lease, and nobody waits behind what it asked', async (context) => {
    const { open, startOther, runningInRedis } = await setStage(context)
    const other = await startOther({ concurrency: 3, requests: 8 })
    expect(other.told.filter((line) => line.startsWith('running'))).toHaveLength(3)
    const a = await open({ concurrency: 3, limit: 100 }, [])
    expect(await a.ask('mine', 'm0')).toBe(2)
    void a.ask('mine', 'm1')
    await a.ask('mine', 'm2')
    const begin = performance.now()
    other.signal('SIGKILL')
    await until(() => a.served.length === 3)
    const tookMs = performance.now() - begin
    console.log(`the places of a dead process came back after ${Math.round(tookMs)} of ${LEASE_MS} ms`)
    expect(tookMs).toBeLessThan(LEASE_MS + SLACK_MS)
    expect(await runningInRedis()).toBe(3)
  })

  test('Q4 what a process that was frozen still runs counts again when it wakes', async (context) => {
    const { open, startOther, runningInRedis } = await setStage(context)
    const other = await startOther({ concurrency: 1, requests: 1 })
    const a = await open({ concurrency: 1, limit: 100 }, [])
    await a.ask('mine', 'm0')
    void a.ask('mine', 'm1')
    other.signal('SIGSTOP')
    await until(() => a.served.length === 1)
    other.signal('SIGCONT')
    await until(async () => (await runningInRedis()) === 2)
    a.release('m0')
    await until(async () => (await runningInRedis()) === 1)
    await renewed()
    expect(a.served).toEqual(['m0'])
    other.signal('SIGKILL')
    await until(() => a.served.length === 2)
  })

  test('Q4 a grant that was told to nobody is found by the next renewal', async (context) => {
    const { redis, open } = await setStage(context)
    const served: string[] = []
    const limits = { concurrency: 1, limit: 9 }
    const proxy = await startRedisProxy(redis)
    const [a, b] = [await open(limits, served), await open(limits, served, { url: proxy.url })]
    await a.ask('a', 'a')
    await b.ask('b', 'b')
    proxy.swallowWakeUps()
    const begin = performance.now()
    a.release('a')
    await until(() => served.includes('b'))
    expect(performance.now() - begin).toBeLessThan(LEASE_MS / 2 + SLACK_MS)
    proxy.close()
  })

  test('Q4 where all together are too many, the place of who has most waiting is given to another, wherever each came in', async (context) => {
    const { open } = await setStage(context)
    const served: string[] = []
    const limits = { concurrency: 1, limit: 4 }
    const [a, b, c] = [await open(limits, served), await open(limits, served), await open(limits, served)]
    for (const [name, one] of Object.entries({ g0: a, g1: a, g2: b, g3: a, g4: b })) await one.ask('greedy', name)
    expect(await c.ask('ann', 'ann1')).toBe(2)
    await until(() => b.refused.length === 1)
    expect(await c.ask('ann', 'ann2')).toBe(4)
    await until(() => a.refused.length === 1)
    expect([a.refused, b.refused, c.refused]).toEqual([['g3'], ['g4'], []])
    expect([a.queue.waiting(), b.queue.waiting(), c.queue.waiting()]).toEqual([1, 1, 2])
    expect(await c.ask('ann', 'ann3')).toBe('refused')
    for (const one of [a, a, c, b]) {
      const { length } = served
      one.release(served.at(-1) ?? '')
      await until(() => served.length > length)
    }
    expect(served).toEqual(['g0', 'g1', 'ann1', 'g2', 'ann2'])
  })

  test('Q4 a refusal that was told to nobody is found by the next renewal', async (context) => {
    const { redis, open } = await setStage(context)
    const limits = { concurrency: 1, limit: 2 }
    const proxy = await startRedisProxy(redis)
    const [a, b] = [await open(limits, []), await open(limits, [], { url: proxy.url })]
    await a.ask('a', 'a')
    for (const name of ['g1', 'g2']) await b.ask('greedy', name)
    proxy.swallowWakeUps()
    const begin = performance.now()
    expect(await a.ask('ann', 'ann')).toBe(2)
    await until(() => b.refused.length === 1)
    expect(performance.now() - begin).toBeLessThan(LEASE_MS / 2 + SLACK_MS)
    expect([b.refused, b.queue.waiting()]).toEqual([['g2'], 1])
    proxy.close()
  })

  test('Q4 a process that ends gives back what it runs, and leaves the line', async (context) => {
    const { open } = await setStage(context)
    const served: string[] = []
    const limits = { concurrency: 1, limit: 9 }
    const [a, b] = [await open(limits, served), await open(limits, served)]
    for (const name of ['a0', 'a1']) await a.ask('a', name)
    await b.ask('b', 'b')
    await a.coordination.close()
    await until(() => served.includes('b'))
    expect(served).toEqual(['a0', 'b'])
  })
})

/** A queue over the real Redis, of a process of its own, whose questions stay without an answer when the test says so. */
async function openDirectly({ url }: RedisProcess, limits: QueueLimits, aliveMs: number) {
  const target = parseRedisUrl(url)
  const client = createClient(target, 'commands', 1_000)
  await whenReady(client, target.description, 1_000)
  const real = createAsk({ client, clock: realClock, reach: { notAfter: () => 0 }, timeoutMs: 1_000 })
  let isLate = false
  const late = () => Promise.reject(new Error('Redis did not answer in time'))
  const ask: RedisAsk = {
    again: (...what) => (isLate ? late() : real.again(...what)),
    once: (...what) => (isLate ? late() : real.once(...what)),
  }
  const options = { ask, clock: realClock, name: 'chat', owner: 'direct', publish: 'PUBLISH' } as const
  const more = { ...limits, aliveMs, patienceMs: 500, published: (name: string) => name }
  const queue = createRedisQueue({ ...options, ...more, processes: () => 2 })
  return {
    queue,
    ...createQueueUsers(queue, []),
    store: createRedisQueueStore({ ...options, ...more }),
    isLate(state: boolean) {
      isLate = state
    },
    close: () => client.disconnect(),
  }
}

test('Q4 one late answer of Redis does not make a process run its own part on top of what all run; two in a row do', async (context) => {
  const { redis, open, runningInRedis } = await setStage(context)
  const limits = { concurrency: 4, limit: 50 }
  const a = await open(limits, [])
  for (const name of ['a0', 'a1', 'a2', 'a3']) await a.ask('a', name)
  const b = await openDirectly(redis, limits, LEASE_MS)
  for (let round = 0; round < 2; round++) {
    b.isLate(true)
    for (const name of ['b0', 'b1']) void b.ask('b', `${name}${round}`)
    await pause(0)
    b.isLate(false)
    // What was asked before the first failed says no more than that. The next renewal asks again.
    expect(await b.queue.renew(true)).toBe(true)
    await until(() => b.told.length === 2 * (round + 1))
    expect([b.queue.running(), b.queue.waiting()]).toEqual([0, 2 * (round + 1)])
  }
  expect(await runningInRedis()).toBe(4)
  b.isLate(true)
  expect(await b.queue.renew(true)).toBe(false)
  expect(b.queue.running()).toBe(0)
  expect(await b.queue.renew(true)).toBe(false)
  expect(b.queue.running()).toBe(2)
  b.isLate(false)
  await b.queue.close()
  b.close()
})

test('Q4 a refusal that comes when its place was asked for again holds, once, and keeps nothing', async (context) => {
  const { redis, open } = await setStage(context)
  const limits = { concurrency: 1, limit: 2 }
  const waiting = 'sw:{queue-chat}:waiting'
  const a = await open(limits, [])
  await a.ask('a', 'a')
  const b = await openDirectly(redis, limits, LEASE_MS)
  await b.ask('greedy', 'g1')
  await b.ask('greedy', 'g2')
  const [, ticket = ''] = ((await redis.call('zrange', waiting, 0, -1)) as string[]).map((place) => place.slice(17))
  await a.ask('ann', 'ann')
  a.cancel('ann')
  await until(async () => (await redis.call('zcard', waiting)) === 1)
  // It hears of nothing, and finds its place gone.
  await b.queue.renew(true)
  await until(async () => (await redis.call('zcard', waiting)) === 2)
  for (let time = 0; time < 2; time++) b.queue.heard(`!${ticket}`)
  await until(async () => (await redis.call('zcard', waiting)) === 1)
  expect([b.refused, b.queue.waiting()]).toEqual([['g2'], 1])
  await b.queue.close()
  b.close()
})

test('Q4 what a process claims after it has left is no lost place: it is taken out like that of a dead one', async (context) => {
  const { redis, open, runningInRedis } = await setStage(context)
  const limits = { concurrency: 1, limit: 9 }
  const a = await open(limits, [])
  const b = await openDirectly(redis, limits, LEASE_MS / 3)
  await b.ask('b', 'b')
  const [ticket = ''] = (await redis.call('smembers', RUNNING)) as string[]
  await b.store.leave()
  expect(await runningInRedis()).toBe(0)
  // As one that was on its way over a connection from before.
  await b.store.claim([ticket])
  expect(await runningInRedis()).toBe(1)
  await a.ask('a', 'a')
  await until(() => a.served.length === 1)
  b.close()
})

describe('Redis is away', AT_ONCE, () => {
  test.for(['killed', 'frozen'] as const)(
    'Q4 %s: each process serves its part, nothing runs twice or waits for ever, and what ran counts afterwards',
    { timeout: 20_000 },
    async (how, context) => {
      const { redis, open, runningInRedis } = await setStage(context)
      const served: string[] = []
      const limits = { concurrency: 4, limit: 50 }
      const [a, b] = [await open(limits, served), await open(limits, served)]
      await renewed()
      for (const name of ['a0', 'a1', 'a2', 'a3']) expect(await a.ask('a', name)).toBe('granted')
      for (const name of ['b0', 'b1', 'b2']) await b.ask('b', name)
      if (how === 'killed') await redis.kill()
      else redis.freeze()
      // Two of four are its part.
      await until(() => b.queue.running() === 2)
      // One that is given up while Redis cannot hear it, and one that comes now. The other process runs more than its part.
      a.release('a0')
      expect(await a.ask('a', 'a4')).toBe(1)
      void b.ask('c', 'c0')
      await until(() => b.queue.waiting() === 2)
      expect([a.queue.running(), b.queue.running()]).toEqual([3, 2])
      b.cancel('b2')
      b.release('b0')
      await until(() => served.includes('c0'))
      expect(served).toEqual(['a0', 'a1', 'a2', 'a3', 'b0', 'b1', 'c0'])

      if (how === 'killed') await redis.restart({ empty: true })
      else redis.wake()
      await until(async () => (await runningInRedis().catch(() => 0)) === 5)
      // Each asks Redis for more once all have had a lease's time to say what they run.
      await pause(LEASE_MS)
      await renewed()
      expect(await runningInRedis()).toBe(5)
      expect(await b.ask('d', 'd0')).toBe(2)
      a.release('a1')
      await until(async () => (await runningInRedis()) === 4)
      expect(a.queue.running() + b.queue.running()).toBe(4)
      a.release('a2')
      await until(() => served.includes('a4'))
      b.release('b1')
      await until(() => served.includes('d0'))
      expect(served).toEqual(['a0', 'a1', 'a2', 'a3', 'b0', 'b1', 'c0', 'a4', 'd0'])
      for (const name of ['a3', 'a4']) a.release(name)
      for (const name of ['c0', 'd0']) b.release(name)
      await until(async () => (await runningInRedis()) === 0)
    },
  )
})
