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
    let immediate: NodeJS.Immediate | undefined
    // Sockets are read between a timer and an immediate: after a pause of the whole process, a pong that has long
    // arrived is heard before the timer that waits for it fires.
    const timeout = setTimeout(() => {
      immediate = setImmediate(callback)
    }, delayMs)
    return () => {
      clearTimeout(timeout)
      clearImmediate(immediate)
    }
  },
}

/**
 * A hashed timer wheel: setting and clearing cost the same however many timers there are, where Node's own timers
 * keep a list per duration and XState's clock an object per actor. `onError` gets what a callback threw.
 */
export function createTimerWheel(onError: (error: unknown) => void, drive: WheelDrive = realDrive): Clock {
  const slots: WheelTimer[] = Array.from({ length: SLOTS }, emptyList)
  /** Timers of the tick in hand that are still to be fired: a callback may clear them, or add others to their slot. */
  const firing = emptyList()
  let tick = Math.floor(drive.now() / TICK_MS)
  let size = 0
  let callOff: (() => void) | undefined

  function arm(): void {
    // At the beginning of the next tick: a whole tick from now would be up to two ticks late.
    if (callOff === undefined && size > 0) callOff = drive.after(turn, TICK_MS - (drive.now() % TICK_MS))
  }

  function turn(): void {
    callOff = undefined
    const target = Math.floor(drive.now() / TICK_MS)
    try {
      while (tick < target && size > 0) {
        tick++
        fire(slots[tick % SLOTS] as WheelTimer)
      }
      tick = Math.max(tick, target)
    } finally {
      arm()
    }
  }

  function fire(list: WheelTimer): void {
    for (let timer = list.next; timer !== list; ) {
      const { next } = timer
      if (timer.due <= tick) {
        unlink(timer)
        link(timer, firing)
      }
      timer = next
    }
    while (firing.next !== firing) {
      const { callback } = firing.next
      remove(firing.next)
      try {
        callback?.()
      } catch (error) {
        onError(error)
      }
    }
  }

  function remove(timer: WheelTimer): void {
    if (timer.callback === undefined) return
    timer.callback = undefined
    unlink(timer)
    size--
  }

  return {
    now: drive.now,
    setTimeout(callback, delayMs) {
      if (size === 0) tick = Math.floor(drive.now() / TICK_MS)
      const due = Math.max(tick + 1, Math.ceil((drive.now() + delayMs) / TICK_MS))
      const timer = { callback, due } as WheelTimer
      link(timer, slots[due % SLOTS] as WheelTimer)
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

/** Puts a timer at the end of a list. */
function link(timer: WheelTimer, list: WheelTimer): void {
  timer.previous = list.previous
  timer.next = list
  list.previous.next = timer
  list.previous = timer
}

/** Takes a timer out of its list; it keeps no other timer alive after that. */
function unlink(timer: WheelTimer): void {
  timer.previous.next = timer.next
  timer.next.previous = timer.previous
  timer.previous = timer
  timer.next = timer
}
