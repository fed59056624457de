import type { Clock, Timer } from '../actor/clock.ts'
import { LogError, LogUnreachable } from '../log/channel-log.ts'

/** Something that is done when all that came before it is done. */
export interface Waiting {
  /** How many characters it holds, about. Asked only where it has to wait. */
  length(): number
  /** Rejects where it could not be done. */
  run(): Promise<void>
  /** It could not be done, or was not even begun. */
  failed(error: unknown): void
}

/** What members ask of a chat, one after the other: each is judged by what the one before it wrote. */
export interface FrameLine {
  /** Answers false where too much waits already. */
  add(frame: Waiting): boolean
  /** Nothing waits, and nothing is in hand. */
  readonly isIdle: boolean
}

/** See {@link createFrameLine}. */
export interface FrameLineOptions {
  readonly clock: Clock
  /** The last has been done. */
  readonly onIdle: () => void
  /** What `failed` threw. */
  readonly onFault: (error: unknown) => void
}

/** How many may wait for the one in hand. */
export const MAX_WAITING = 256
/** How many characters may, all together; one alone may have more. */
export const MAX_WAITING_LENGTH = 1024 * 1024
/** How long one waits to be begun, in ms: users are told of a failure within a second, the way to them and back included. */
export const MAX_WAIT_MS = 800

/**
 * Makes an empty line. Where the log cannot be reached, all that waits fails together with the one that found out: each
 * would only wait for as long again. What comes later tries anew.
 */
export function createFrameLine({ clock, onIdle, onFault }: FrameLineOptions): FrameLine {
  let waiting: { readonly frame: Waiting; readonly length: number; readonly since: number }[] = []
  let waitingLength = 0
  let isWorking = false
  let timer: Timer | undefined

  async function work(first: Waiting): Promise<void> {
    isWorking = true
    for (let frame: Waiting | undefined = first; frame !== undefined; frame = take()) {
      try {
        await frame.run()
      } catch (error) {
        fail(frame, error)
        if (error instanceof LogUnreachable) failWaiting(error)
      }
    }
    isWorking = false
    if (timer !== undefined) clock.clearTimeout(timer)
    timer = undefined
    onIdle()
  }

  function take(): Waiting | undefined {
    const next = waiting.shift()
    waitingLength -= next?.length ?? 0
    return next?.frame
  }

  function failWaiting(error: LogUnreachable): void {
    const all = waiting
    waiting = []
    waitingLength = 0
    for (const { frame } of all) fail(frame, error)
  }

  function fail(frame: Waiting, error: unknown): void {
    try {
      frame.failed(error)
    } catch (fault) {
      onFault(fault)
    }
  }

  /** A timer for the first that waits, which sees to the others when it fires. */
  function watch(): void {
    const first = waiting[0]
    if (timer !== undefined || first === undefined) return
    timer = clock.setTimeout(
      () => {
        timer = undefined
        const late = clock.now() - MAX_WAIT_MS
        for (let oldest = waiting[0]; oldest !== undefined && oldest.since <= late; oldest = waiting[0]) {
          take()
          fail(oldest.frame, new LogError('failed', 'the frames before it took too long'))
        }
        watch()
      },
      Math.max(0, first.since + MAX_WAIT_MS - clock.now()),
    )
  }

  return {
    add(frame) {
      if (!isWorking) {
        void work(frame)
        return true
      }
      const length = frame.length()
      const isTooLong = waiting.length > 0 && waitingLength + length > MAX_WAITING_LENGTH
      if (waiting.length >= MAX_WAITING || isTooLong) return false
      waiting.push({ frame, length, since: clock.now() })
      waitingLength += length
      watch()
      return true
    },
    get isIdle() {
      return !isWorking
    },
  }
}
