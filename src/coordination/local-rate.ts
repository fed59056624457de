import type { Clock } from '../actor/clock.ts'
import { type RateOptions, type SharedRate, tokenMs, waitOf } from './shared-rate.ts'

/** How often full buckets are forgotten, in ms. */
const FORGET_INTERVAL_MS = 1_000

/** A rate within one process. Full buckets are forgotten: a key that nobody uses costs nothing. */
export function createLocalRate(clock: Clock, options: RateOptions): SharedRate {
  /** When each bucket is full again, by the clock: all that there is to a bucket. */
  const fullAt = new Map<string, number>()
  let isForgetting = false

  function forget(): void {
    isForgetting = false
    const now = clock.now()
    for (const [key, at] of fullAt) if (at <= now) fullAt.delete(key)
    if (fullAt.size > 0) forgetLater()
  }

  function forgetLater(): void {
    if (isForgetting) return
    isForgetting = true
    clock.setTimeout(forget, FORGET_INTERVAL_MS)
  }

  return {
    waitMs: (key) => waitOf((fullAt.get(key) ?? 0) - clock.now(), options),
    take(key) {
      const now = clock.now()
      fullAt.set(key, Math.max(now, fullAt.get(key) ?? now) + tokenMs(options))
      forgetLater()
    },
  }
}
