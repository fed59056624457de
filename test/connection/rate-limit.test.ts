import { expect, test } from 'vitest'
import { RateLimit } from '../../src/connection/rate-limit.ts'

const take = (limit: RateLimit, times: number, now: number) =>
  Array.from({ length: times }, () => limit.take(now)).filter((isTaken) => isTaken).length

test('Q1 a burst at once, then the rate, and never more than a burst however long the silence', () => {
  const limit = new RateLimit({ rate: 10, burst: 20, strikes: 1_000 }, 0)
  expect(take(limit, 100, 0)).toBe(20)
  expect(take(limit, 100, 99)).toBe(0)
  expect(take(limit, 100, 100)).toBe(1)
  expect(take(limit, 100, 1_100)).toBe(10)
  expect(take(limit, 100, 10_000_000)).toBe(20)
})

test('Q1 over a long time the rate is kept, at whatever moments frames come', () => {
  const limit = new RateLimit({ rate: 7, burst: 3, strikes: 1 }, 0)
  let taken = 0
  for (let now = 0; now < 100_000; now += 13) taken += take(limit, 2, now)
  expect(taken).toBeGreaterThanOrEqual(699)
  expect(taken).toBeLessThanOrEqual(703)
})

test('Q2 after waitMs there is a token, and a millisecond earlier there is none', () => {
  for (const rate of [1, 3, 7, 10, 30, 333, 999]) {
    let now = 0.7
    const limit = new RateLimit({ rate, burst: 1, strikes: 1 }, now)
    for (let round = 0; round < 2_000; round++) {
      expect(limit.take(now)).toBe(true)
      now += (round % 11) / 13
      const wait = limit.waitMs(now)
      expect(wait).toBeLessThanOrEqual(1_000 / rate + 1)
      if (wait > 1) expect(limit.take(now + wait - 1.001)).toBe(false)
      now += wait
    }
  }
})

test('Q2 with a token there is nothing to wait for', () => {
  expect(new RateLimit({ rate: 1, burst: 1, strikes: 1 }, 0).waitMs(0)).toBe(0)
})

test('Q3 more than RATE_STRIKES refusals within a minute are abuse', () => {
  const limit = new RateLimit({ rate: 1, burst: 1, strikes: 3 }, 0)
  take(limit, 1, 0)
  take(limit, 3, 1)
  expect(limit.isAbusive()).toBe(false)
  take(limit, 1, 2)
  expect(limit.isAbusive()).toBe(true)
})

test('Q3 the minute is any minute: refusals around its turn count together', () => {
  const limit = new RateLimit({ rate: 1, burst: 1, strikes: 3 }, 0)
  take(limit, 4, 59_000)
  expect(limit.isAbusive()).toBe(false)
  take(limit, 2, 61_000)
  expect(limit.isAbusive()).toBe(true)
})

test('Q3 refusals are forgiven after a minute', () => {
  const limit = new RateLimit({ rate: 1, burst: 1, strikes: 3 }, 0)
  for (let now = 0; now < 600_000; now += 60_000) {
    expect(take(limit, 4, now)).toBe(1)
    expect(limit.isAbusive()).toBe(false)
  }
})
