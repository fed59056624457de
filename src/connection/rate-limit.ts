import type { SharedRate } from '../coordination/shared-rate.ts'

const SECOND_MS = 1_000
const MINUTE_MS = 60_000

/** What a connection may send, and how often it was refused. */
export interface RateLimitOptions {
  /** Frames a second. */
  readonly rate: number
  /** Frames at once. */
  readonly burst: number
  /** Refusals within a minute that are still forgiven. */
  readonly strikes: number
}

/** A token bucket that counts its refusals. Times are the clock's, in ms. SPEC.md Q1 to Q3, Q5. */
export class RateLimit {
  readonly #options: RateLimitOptions
  #tokens: number
  #filledAt: number
  /** What it has in common with other connections; absent where there is no such limit. */
  #shared: { readonly rate: SharedRate; readonly key: string }[] | undefined
  /** When the refusals of the last minute were; absent for those who keep to their rate, which is nearly everybody. */
  #strikes: number[] | undefined

  constructor(options: RateLimitOptions, now: number) {
    this.#options = options
    this.#tokens = options.burst
    this.#filledAt = now
  }

  /** From now on, each token is one of the key's, too. */
  share(rate: SharedRate, key: string): void {
    this.#shared ??= []
    this.#shared.push({ rate, key })
  }

  /** Takes a token; without one, counts a strike and answers false. */
  take(now: number): boolean {
    const { rate, burst } = this.#options
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAt) * rate) / SECOND_MS)
    this.#filledAt = now
    if (this.#tokens >= 1 && (this.#shared === undefined || this.#sharedWaitMs() === 0)) {
      if (this.#shared !== undefined) for (const { rate, key } of this.#shared) rate.take(key)
      this.#tokens--
      return true
    }
    this.#strikes ??= []
    while (now - (this.#strikes[0] ?? now) >= MINUTE_MS) this.#strikes.shift()
    this.#strikes.push(now)
    return false
  }

  /** How long until there is a token, in whole ms. */
  waitMs(now: number): number {
    const tokens = this.#tokens + ((now - this.#filledAt) * this.#options.rate) / SECOND_MS
    return Math.max(0, Math.ceil(((1 - tokens) * SECOND_MS) / this.#options.rate), this.#sharedWaitMs())
  }

  #sharedWaitMs(): number {
    return Math.max(0, ...(this.#shared ?? []).map(({ rate, key }) => rate.waitMs(key)))
  }

  /** More strikes within a minute than are forgiven. */
  isAbusive(): boolean {
    return (this.#strikes?.length ?? 0) > this.#options.strikes
  }
}
