import type { Clock, Timer } from './clock.ts'

/** How fine the wheel measures, in ms. Timers fire up to this much late, never early. */
export const TICK_MS = 10
/** One turn of the wheel is SLOTS * TICK_MS = 41 s, so that a heartbeat's timer is looked at once. */
const SLOTS = 4096

interface WheelTimer {
  callback: (() => void) | undefined
  /** The tick at which it is due. */
  due: number
  previous: WheelTimer
  next: WheelTimer
}

/** Where the wheel gets its time from: `performance.now()` and the event loop, unless a test holds both. */
export interface WheelDrive {
  now(): number
  /** Calls back after about `delayMs`; answers the function that calls it off. */
  after(callback: () => void, delayMs: number): () => void
}

const realDrive: WheelDrive = {
  now: () => performance.now(),
  after(callback, delayMs) {
    const timeout = setTimeout(callback, delayMs)
    return () => clearTimeout(timeout)
  },
}

/**
 * A hashed timer wheel: setting and clearing cost the same however many timers there are, where Node's own timers
 * keep a list per duration and XState's clock an object per actor. `onError` gets what a callback threw.
 */
export function createTimerWheel(onError: (error: unknown) => void, drive: WheelDrive = realDrive): Clock {
  const slots: WheelTimer[] = Array.from({ length: SLOTS }, emptyList)
  let tick = Math.floor(drive.now() / TICK_MS)
  let size = 0
  let callOff: (() => void) | undefined

  function arm(): void {
    if (callOff === undefined && size > 0) callOff = drive.after(turn, TICK_MS)
  }

  function turn(): void {
    callOff = undefined
    const target = Math.floor(drive.now() / TICK_MS)
    while (tick < target && size > 0) {
      tick++
      fire(slots[tick % SLOTS] as WheelTimer)
    }
    tick = Math.max(tick, target)
    arm()
  }

  function fire(list: WheelTimer): void {
    let timer = list.next
    while (timer !== list) {
      if (timer.due <= tick) {
        const { callback } = timer
        remove(timer)
        try {
          callback?.()
        } catch (error) {
          onError(error)
        }
        // The callback may have changed the list anywhere; what is due and still there is found from its beginning.
        timer = list.next
      } else {
        timer = timer.next
      }
    }
  }

  function remove(timer: WheelTimer): void {
    if (timer.callback === undefined) return
    timer.callback = undefined
    timer.previous.next = timer.next
    timer.next.previous = timer.previous
    size--
  }

  return {
    now: drive.now,
    setTimeout(callback, delayMs) {
      if (size === 0) tick = Math.floor(drive.now() / TICK_MS)
      const due = Math.max(tick + 1, Math.ceil((drive.now() + delayMs) / TICK_MS))
      const list = slots[due % SLOTS] as WheelTimer
      const timer: WheelTimer = { callback, due, previous: list.previous, next: list }
      list.previous.next = timer
      list.previous = timer
      size++
      arm()
      return timer
    },
    clearTimeout(timer: Timer) {
      // The clock's timers are opaque to callers, and all of them come from setTimeout above.
      remove(timer as WheelTimer)
    },
  }
}

function emptyList(): WheelTimer {
  const list = { callback: undefined, due: 0 } as WheelTimer
  list.previous = list
  list.next = list
  return list
}
