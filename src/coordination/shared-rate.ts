/** Token buckets, one for each key, full at first. */
export interface RateOptions {
  /** Tokens that come in a second. */
  readonly perSecond: number
  /** Tokens that a full bucket has. */
  readonly burst: number
}

/**
 * A rate for each key that all processes keep together. It is decided upon at once, without asking anybody: the processes
 * tell each other soon afterwards. SPEC.md Q5.
 */
export interface SharedRate {
  /** How long until a token may be taken, in whole ms; 0 where that is now. */
  waitMs(key: string): number
  /** Takes a token. To be called where there is one. */
  take(key: string): void
}

/** The time between two tokens, in ms. */
export function tokenMs({ perSecond }: RateOptions): number {
  return 1_000 / perSecond
}

/** How long a bucket that is full again in `restMs` has no token, in whole ms. */
export function waitOf(restMs: number, options: RateOptions): number {
  return Math.max(0, Math.ceil(restMs - (options.burst - 1) * tokenMs(options)))
}
