/** How many run and how many wait, over all processes. */
export interface QueueLimits {
  /** How many run at once. */
  readonly concurrency: number
  /** How many wait for one of these. */
  readonly limit: number
}

/** How often one that waits is told its position at most, in ms. */
export const POSITION_INTERVAL_MS = 1_000

/** What one that asked is told. None may throw: they are called in the course of others' business. */
export interface Waiter {
  /** It is its turn: once, and within `request` already where the answer is known. `release` lets the next one run. */
  granted(release: () => void): void
  /** The place in the order of service, from 1: once it is known, and then as it changes. */
  moved(position: number): void
  /** Too many wait: at once, or later, when one whose key has fewer waiting took the place. Nothing more is told. */
  refused(): void
}

/** A place in the queue. */
export interface Ticket {
  /** Gives the place up; after `granted`, the same as `release`. Both do their work once, however often called. */
  cancel(): void
}

/**
 * A bounded queue that is fair between keys: it serves one request of each key in turn, so that nobody waits behind one
 * user's hundred. Where it is full, the key with most waiting gives up its last place to one that has at least two fewer, so
 * that nobody is shut out by one user's hundred either. SPEC.md Q4, C12.
 */
export interface FairQueue {
  /** Asks to run on behalf of a key: whoever one is to be fair to. */
  request(key: string, waiter: Waiter): Ticket
  /** How many of this process were granted and not released. */
  running(): number
  /** How many of this process wait. */
  waiting(): number
}
