import type { Clock } from '../../src/actor/clock.ts'
import { createTimerWheel, TICK_MS, type WheelDrive } from '../../src/actor/timer-wheel.ts'

/** The real timer wheel on time that only a test moves. */
export interface FakeClock extends Clock {
  /** Moves time on, tick by tick, firing what falls due on the way. */
  advance(ms: number): void
}

/** What a callback throws comes out of `advance`. */
export function createFakeClock(): FakeClock {
  let now = 0
  let pending: (() => void) | undefined
  const drive: WheelDrive = {
    now: () => now,
    after(callback) {
      pending = callback
      return () => {
        pending = undefined
      }
    },
  }
  const wheel = createTimerWheel((error) => {
    throw error
  }, drive)
  return {
    ...wheel,
    advance(ms) {
      const end = now + ms
      while (now < end) {
        now = Math.min(end, now + TICK_MS)
        const callback = pending
        pending = undefined
        callback?.()
      }
    },
  }
}
