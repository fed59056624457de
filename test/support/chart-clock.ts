import type { Clock, Timer } from '../../src/actor/clock.ts'
import { createFakeClock, type FakeClock } from './fake-clock.ts'

/** A fake clock that knows how many of its timers are still to fire. */
export interface CountingClock extends FakeClock {
  readonly pending: number
}

/** What a callback throws comes out of `advance`. */
export function createCountingClock(): CountingClock {
  const clock = createFakeClock()
  const timers = new Set<Timer>()
  const counting: Clock = {
    now: clock.now,
    setTimeout(callback, delayMs) {
      const timer = clock.setTimeout(() => {
        timers.delete(timer)
        callback()
      }, delayMs)
      timers.add(timer)
      return timer
    },
    clearTimeout(timer) {
      timers.delete(timer)
      clock.clearTimeout(timer)
    },
  }
  return {
    ...counting,
    advance: clock.advance,
    get pending() {
      return timers.size
    },
  }
}
