import { LogError, LogUnreachable } from './channel-log.ts'
import { redisWords } from './redis-words.ts'

/** What of the server's clock the log needs; the same shape, so that either may be handed in. */
export interface RedisClock {
  /** In ms, monotonic. */
  now(): number
  setTimeout(callback: () => void, delayMs: number): object
  clearTimeout(timer: object): void
}

/** Node's own timers, which fire to the ms. */
export const realClock: RedisClock = {
  now: () => performance.now(),
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
}

/** How long is waited before something is tried again, in ms: long enough for a connection to be made anew. */
const PAUSE_MS = 25

const LATE = 'Redis did not answer in time'

/** Errors of Redis by which it says no for good; whatever else fails may be well a moment later. */
const FINAL = /^(?:ERR|WRONGTYPE|NOAUTH|NOPERM|WRONGPASS|OOM|EXECABORT|CROSSSLOT|MISCONF|NOREPLICAS)\b/

/**
 * Tries something until it is done, fails for good, or `deadline` (of the clock) has passed; a try that hangs is not waited
 * for longer. Rejects with {@link LogError} `failed`, whose message never quotes what was sent.
 */
export async function untilDeadline<T>(
  clock: RedisClock,
  deadline: number,
  attempt: (n: number) => Promise<T>,
): Promise<T> {
  // What waited for longer than it has is not begun: Redis might do what its caller was told has failed.
  if (clock.now() >= deadline) throw late(undefined)
  return new Promise<T>((resolve, reject) => {
    let pause: object | undefined
    let last: unknown
    let over = false
    const timer = clock.setTimeout(() => finish(() => reject(late(last))), Math.max(0, deadline - clock.now()))
    function finish(settle: () => void): void {
      if (over) return
      over = true
      clock.clearTimeout(timer)
      if (pause !== undefined) clock.clearTimeout(pause)
      settle()
    }
    function tryIt(n: number): void {
      attempt(n).then(
        (value) => finish(() => resolve(value)),
        (error: unknown) => {
          if (over) return
          last = error
          if (error instanceof LogError) finish(() => reject(error))
          else if (FINAL.test(redisWords(error))) finish(() => reject(failure('Redis refused', error)))
          else pause = clock.setTimeout(() => tryIt(n + 1), PAUSE_MS)
        },
      )
    }
    tryIt(1)
  })
}

function late(last: unknown): LogUnreachable {
  return new LogUnreachable(last === undefined ? LATE : told(LATE, last))
}

/** What to say of an error of Redis or its client. */
export function failure(what: string, error: unknown): LogError {
  return new LogError('failed', told(what, error))
}

/** (`redisWords` leaves out what was sent; ioredis keeps the command, which is not handed on.) */
function told(what: string, error: unknown): string {
  return `${what}: ${redisWords(error).slice(0, 200)}`
}
