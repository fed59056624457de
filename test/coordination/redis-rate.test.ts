import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openRedisCoordination } from '../../src/coordination/redis-coordination.ts'
import type { SharedRate } from '../../src/coordination/shared-rate.ts'
import { type RedisProcess, startRedis, until } from '../support/redis.ts'

const LEASE_MS = 600
const RATE = 40
const OPTIONS = { perSecond: RATE, burst: RATE }
/** Within what time a process tells of what it let through, with what a busy machine adds. */
const LAG_S = 0.3

describe('two processes', () => {
  let redis: RedisProcess
  let rates: SharedRate[] = []
  let close: () => Promise<unknown>
  beforeEach(async () => {
    redis = await startRedis()
    const open = () => openRedisCoordination({ url: redis.url, leaseMs: LEASE_MS })
    const both = await Promise.all([open(), open()])
    rates = both.map((one) => one.rate('address', OPTIONS))
    close = () => Promise.all(both.map((one) => one.close()))
    // The processes are known to each other.
    await pause(LEASE_MS / 2)
  })
  afterEach(async () => {
    await close()
    await redis.close()
  })

  /** Takes whatever can be taken of a key, on both, for so long. Answers how many, and how long it really was, in s. */
  async function flood(key: string, ms: number) {
    let taken = 0
    const begin = performance.now()
    while (performance.now() - begin < ms) {
      for (const rate of rates) {
        for (; rate.waitMs(key) === 0; taken++) rate.take(key)
      }
      await pause(1)
    }
    return { taken, seconds: (performance.now() - begin) / 1_000 }
  }

  test('Q5 both together keep to the rate: at most a burst of each at first, which is waited for afterwards', async () => {
    expect((await flood('a', 20)).taken).toBeLessThanOrEqual(2 * RATE + RATE * 0.1)
    await pause(1_000 * LAG_S)
    const { taken, seconds } = await flood('a', 2_000)
    console.log(
      `a rate of ${RATE}, flooded on two processes: ${2 * RATE} at once, then ${taken} in ${seconds.toFixed(2)} s`,
    )
    // Two bursts were taken, where one was there: the second is paid for.
    expect(taken).toBeLessThanOrEqual(RATE * (seconds + LAG_S) - RATE + 2 * RATE * LAG_S)
    expect(taken).toBeGreaterThan(RATE * (seconds - 1) * 0.6)
  })

  test('Q5 a bucket that is full again is forgotten, in Redis, too', async () => {
    for (let i = 0; i < RATE / 2; i++) rates[0]?.take('a')
    await until(async () => String(await redis.call('keys', 'sw:{rates-*')).endsWith(':address:a'))
    await until(async () => String(await redis.call('keys', 'sw:{rates-*')) === '')
  })

  test('Q5 while Redis is away each process has its part of the rate; afterwards both keep to it again', async () => {
    await redis.kill()
    // The first renewal that fails tells.
    await pause(LEASE_MS)
    const away = await flood('b', 700)
    expect(away.taken).toBeLessThanOrEqual(RATE * (away.seconds + LAG_S) + RATE)
    expect(away.taken).toBeGreaterThan(RATE * 0.8)
    await redis.restart({ empty: true })
    await pause(LEASE_MS + 500)
    await flood('c', 20)
    await pause(1_000 * LAG_S)
    const { taken, seconds } = await flood('c', 1_000)
    expect(taken).toBeLessThanOrEqual(RATE * (seconds + LAG_S) - RATE + 2 * RATE * LAG_S)
  })
})
