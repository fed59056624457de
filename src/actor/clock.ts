/** A timer that was set; only good for {@link Clock.clearTimeout} of the same clock. */
export type Timer = object

/**
 * Time as the server sees it: one clock serves all charts, limits and deadlines, so that a test can hold it still.
 * All times are in ms; `now()` is monotonic and starts anywhere.
 */
export interface Clock {
  now(): number
  setTimeout(callback: () => void, delayMs: number): Timer
  clearTimeout(timer: Timer): void
}
