import type { Clock } from '../actor/clock.ts'
import { type FairQueue, POSITION_INTERVAL_MS, type QueueLimits, type Waiter } from './fair-queue.ts'
import { createLanes, inOrder, type Place, positionOf } from './lanes.ts'

/** See {@link createLocalQueue}. */
export interface LocalQueueOptions extends QueueLimits {
  readonly clock: Clock
  /** How many of those that may run do so without having come through this queue. The default: none. */
  readonly elsewhere?: () => number
}

/** A queue within one process. */
export interface LocalQueue extends FairQueue {
  /** Lets those run that may now: fewer run elsewhere. */
  serve(): void
}

/** One request for as long as it waits or runs. */
interface Queued {
  readonly waiter: Waiter
  state: 'waiting' | 'running' | 'over'
  toldPosition: number
  toldAt: number
}

/**
 * Requesting, cancelling and serving cost the same however many wait; telling positions does not, and is therefore done for
 * all at once, at an interval.
 */
export function createLocalQueue(options: LocalQueueOptions): LocalQueue {
  const { clock, concurrency, limit, elsewhere = () => 0 } = options
  const lanes = createLanes<Queued>()
  let running = 0
  let isAnnouncing = false

  const isFree = () => running + elsewhere() < concurrency

  /** Lets those run that may. `granted` may release at once, or ask again: each round looks afresh. */
  function serve(): void {
    while (isFree()) {
      const place = lanes.take()
      if (place === undefined) return
      running++
      place.value.state = 'running'
      announceLater()
      place.value.waiter.granted(() => leave(place))
    }
  }

  function leave(place: Place<Queued>): void {
    const { state } = place.value
    place.value.state = 'over'
    if (state === 'waiting') {
      lanes.remove(place)
      announceLater()
    } else if (state === 'running') {
      running--
      serve()
    }
  }

  function announceLater(): void {
    if (lanes.size() === 0 || isAnnouncing) return
    isAnnouncing = true
    clock.setTimeout(announce, POSITION_INTERVAL_MS)
  }

  function announce(): void {
    isAnnouncing = false
    const now = clock.now()
    let position = 0
    // The order is taken first: one that is told may cancel.
    for (const { value: queued } of inOrder(lanes)) {
      position++
      if (queued.state !== 'waiting' || queued.toldPosition === position) continue
      if (now - queued.toldAt < POSITION_INTERVAL_MS) announceLater()
      else tell(queued, position, now)
    }
  }

  function tell(queued: Queued, position: number, now: number): void {
    queued.toldPosition = position
    queued.toldAt = now
    queued.waiter.moved(position)
  }

  /** The last one of the longest lane makes room for one whose lane is then no longer than that. */
  function makeRoomFor(key: string): boolean {
    const lane = lanes.longest()
    const last = lane?.places.last
    if (lane === undefined || last === undefined || lanes.sizeOf(key) + 1 >= lane.size) return false
    leave(last)
    last.value.waiter.refused()
    return true
  }

  return {
    request(key, waiter) {
      if (!isFree() && lanes.size() >= limit && !makeRoomFor(key)) {
        waiter.refused()
        return { cancel() {} }
      }
      const place = lanes.add(key, { waiter, state: 'waiting', toldPosition: 0, toldAt: 0 })
      serve()
      if (place.value.state === 'waiting') {
        tell(place.value, positionOf(lanes, place), clock.now())
        // Those of longer lanes now wait for one more.
        announceLater()
      }
      return { cancel: () => leave(place) }
    },
    running: () => running,
    waiting: () => lanes.size(),
    serve,
  }
}
