/** Time as the client sees it, in ms; `now()` is monotonic. */
export interface ClientClock {
  now(): number
  /** Calls back once, unless the answer is called before. */
  after(delayMs: number, callback: () => void): () => void
}

/** The time of the browser or of Node.js. */
export const realClock: ClientClock = {
  now: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}
