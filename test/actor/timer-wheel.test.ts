import { expect, test } from 'vitest'
import type { Timer } from '../../src/actor/clock.ts'
import { createTimerWheel, TICK_MS, type WheelDrive } from '../../src/actor/timer-wheel.ts'

/** Beyond one turn of the wheel, which is 41 s. */
const ROUND_MS = 41_000

/** Time that only the test moves; the wheel is woken at the very time that it asked for. */
function start() {
  let now = 3.7
  let wake: { at: number; callback: () => void } | undefined
  let wakes = 0
  const errors: unknown[] = []
  const drive: WheelDrive = {
    now: () => now,
    after(callback, delayMs) {
      wake = { at: now + delayMs, callback }
      return () => {
        wake = undefined
      }
    },
  }
  const wheel = createTimerWheel((error) => errors.push(error), drive)
  return {
    wheel,
    errors,
    now: () => now,
    isAsleep: () => wake === undefined,
    wakes: () => wakes,
    /** Goes to a time, waking the wheel whenever it asked for it. */
    goTo(time: number) {
      while (wake !== undefined && wake.at <= time) {
        now = Math.max(now, wake.at)
        const { callback } = wake
        wake = undefined
        wakes++
        callback()
      }
      now = time
    },
    /** The event loop is blocked until a time: the wheel wakes then, once. */
    blockUntil(time: number) {
      now = time
      const callback = wake?.callback
      wake = undefined
      callback?.()
    },
  }
}

/** Repeatable random numbers from 0 to 1. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}

test('timers fire never early and at most a tick late, at any phase of the tick, over several rounds of the wheel', () => {
  const { wheel, now, goTo } = start()
  const random = randomNumbers(1)
  const late: number[] = []
  for (let i = 0; i < 5_000; i++) {
    const delay = random() < 0.1 ? random() * 5 * ROUND_MS : random() * 2_000
    const due = now() + delay
    wheel.setTimeout(() => late.push(now() - due), delay)
    goTo(now() + random() * 13)
  }
  goTo(now() + 6 * ROUND_MS)
  expect(late).toHaveLength(5_000)
  expect(Math.min(...late)).toBeGreaterThanOrEqual(0)
  expect(Math.max(...late)).toBeLessThanOrEqual(TICK_MS)
})

test('on real time, too, no timer is early', async () => {
  const wheel = createTimerWheel((error) => {
    throw error
  })
  const delays = [0, 1, 9.5, 10, 25, 40]
  const begun = wheel.now()
  const waits = delays.map(
    (delay) => new Promise<number>((resolve) => wheel.setTimeout(() => resolve(wheel.now() - begun - delay), delay)),
  )
  for (const late of await Promise.all(waits)) expect(late).toBeGreaterThanOrEqual(0)
})

test('timers fire in the order of their ticks, and within a tick in the order in which they were set', () => {
  const { wheel, goTo } = start()
  const fired: string[] = []
  const set = (name: string, delay: number) => wheel.setTimeout(() => fired.push(name), delay)
  set('far', 50)
  set('near', 20)
  set('far, second', 50)
  set('a round later', 40_960 + 20)
  set('near, second', 20)
  goTo(100)
  expect(fired).toEqual(['near', 'near, second', 'far', 'far, second'])
  goTo(50_000)
  expect(fired.at(-1)).toBe('a round later')
})

test('after a blocked event loop everything due fires, in order, and nothing else', () => {
  const { wheel, blockUntil } = start()
  const fired: number[] = []
  for (const delay of [3 * ROUND_MS, 500, 100_000, 70, 300_000]) wheel.setTimeout(() => fired.push(delay), delay)
  blockUntil(200_000)
  expect(fired).toEqual([70, 500, 100_000, 3 * ROUND_MS])
})

test('a cleared timer never fires, and clearing it again, or after it fired, does nothing', () => {
  const { wheel, goTo, isAsleep } = start()
  const fired: string[] = []
  const cleared = wheel.setTimeout(() => fired.push('cleared'), 30)
  const kept = wheel.setTimeout(() => fired.push('kept'), 30)
  wheel.clearTimeout(cleared)
  wheel.clearTimeout(cleared)
  goTo(100)
  wheel.clearTimeout(kept)
  const next = wheel.setTimeout(() => fired.push('next'), 30)
  wheel.clearTimeout(kept)
  goTo(200)
  wheel.clearTimeout(next)
  expect(fired).toEqual(['kept', 'next'])
  expect(isAsleep()).toBe(true)
})

test('a callback may clear and set timers, of its own tick, too', () => {
  const { wheel, goTo, now } = start()
  const fired: string[] = []
  const timers: Timer[] = []
  timers.push(
    wheel.setTimeout(() => {
      fired.push(`first at ${now()}`)
      for (const timer of timers) wheel.clearTimeout(timer)
      wheel.setTimeout(() => fired.push(`set within at ${now()}`), 0)
      wheel.setTimeout(() => fired.push(`a round later at ${now()}`), 40_960)
    }, 20),
  )
  timers.push(wheel.setTimeout(() => fired.push('cleared'), 20))
  wheel.setTimeout(() => fired.push(`last at ${now()}`), 20)
  goTo(41_100)
  expect(fired).toEqual(['first at 30', 'last at 30', 'set within at 40', 'a round later at 40990'])
})

test('a delay of 0, or a negative one, fires at the next tick', () => {
  const { wheel, goTo, now } = start()
  const fired: number[] = []
  wheel.setTimeout(() => fired.push(now()), 0)
  wheel.setTimeout(() => fired.push(now()), -100)
  goTo(50)
  expect(fired).toEqual([10, 10])
})

test('a callback that throws is told, and the others fire', () => {
  const { wheel, goTo, errors } = start()
  const fired: string[] = []
  wheel.setTimeout(() => {
    throw new Error('mine')
  }, 20)
  wheel.setTimeout(() => fired.push('same tick'), 20)
  wheel.setTimeout(() => fired.push('later'), 40)
  goTo(100)
  expect(errors).toEqual([new Error('mine')])
  expect(fired).toEqual(['same tick', 'later'])
})

test('where onError throws, the wheel goes on all the same', () => {
  let pending: (() => void) | undefined
  let now = 0
  const wheel = createTimerWheel(
    (error) => {
      throw error
    },
    {
      now: () => now,
      after(callback) {
        pending = callback
        return () => {}
      },
    },
  )
  const fired: string[] = []
  wheel.setTimeout(() => {
    throw new Error('mine')
  }, 20)
  wheel.setTimeout(() => fired.push('same tick'), 20)
  wheel.setTimeout(() => fired.push('later'), 40)
  now = 30
  expect(() => pending?.()).toThrow('mine')
  now = 60
  pending?.()
  expect(fired).toEqual(['same tick', 'later'])
})

test('without timers the wheel asks for nothing', () => {
  const { wheel, goTo, isAsleep, wakes } = start()
  expect(isAsleep()).toBe(true)
  wheel.setTimeout(() => {}, 25)
  expect(isAsleep()).toBe(false)
  goTo(100_000)
  expect(isAsleep()).toBe(true)
  expect(wakes()).toBe(3)
})

test('hundreds of thousands of timers cost little, whether they are cleared, due at once or of other rounds', () => {
  const { wheel, goTo } = start()
  const count = 200_000
  let fired = 0
  const fire = () => {
    fired++
  }
  const begun = performance.now()
  // One slot of the wheel holds them all: half of them due later rounds, and in front of those that are due now.
  for (let i = 0; i < count / 2; i++) wheel.setTimeout(fire, 30 + 40_960 * (1 + (i % 3)))
  for (let i = 0; i < count / 2; i++) wheel.setTimeout(fire, 30)
  goTo(100)
  expect(fired).toBe(count / 2)
  const cleared = Array.from({ length: count }, (_, i) => wheel.setTimeout(fire, i % 60_000))
  for (const timer of cleared) wheel.clearTimeout(timer)
  goTo(5 * ROUND_MS)
  expect(fired).toBe(count)
  // Seconds, where a walk through the slot for each timer would take minutes.
  expect(performance.now() - begun).toBeLessThan(5_000)
})
