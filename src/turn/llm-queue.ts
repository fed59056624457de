import type { Clock } from '../actor/clock.ts'
import { createLanes, inOrder, type Place, positionOf } from './lanes.ts'

/** How often a waiting turn is told its position at most, in ms. */
export const POSITION_INTERVAL_MS = 1000

/** How many run and how many wait. */
export interface LlmQueueOptions {
  readonly clock: Clock
  /** Requests to models that run at once. */
  readonly concurrency: number
  /** Turns that wait for one of these. */
  readonly limit: number
  /** In ms; 1,000 by default. */
  readonly positionIntervalMs?: number
}

/** What a turn is told. Neither may throw: they are called in the course of other turns' business. */
export interface Waiter {
  /** It is its turn: once, and within `request` already where one may run. `release` lets the next one run. */
  granted(release: () => void): void
  /** The place in the order of service, from 1: within `request`, and then as it changes. */
  moved(position: number): void
}

/** A place in the queue. */
export interface Ticket {
  /** Gives the place up; after `granted`, the same as `release`. Both do their work once, however often called. */
  cancel(): void
}

/** The queue in front of the models. SPEC.md Q4, C12. */
export interface LlmQueue {
  /** Asks to run on behalf of a key: whoever one is to be fair to. Undefined where too many wait. */
  request(key: string, waiter: Waiter): Ticket | undefined
  /** How many were granted and not released. */
  running(): number
  /** How many wait. */
  waiting(): number
}

/** One request for as long as it waits or runs. */
interface Queued {
  readonly waiter: Waiter
  state: 'waiting' | 'running' | 'over'
  toldPosition: number
  toldAt: number
}

/**
 * A bounded queue that is fair between keys: it serves one request of each key in turn, so that nobody waits behind
 * one user's hundred. Requesting, cancelling and serving cost the same however many wait; telling positions does not,
 * and is therefore done for all at once, at an interval.
 */
export function createLlmQueue(options: LlmQueueOptions): LlmQueue {
  const { clock, concurrency, limit, positionIntervalMs = POSITION_INTERVAL_MS } = options
  const lanes = createLanes<Queued>()
  let running = 0
  let isAnnouncing = false

  /** Lets those run that may. `granted` may release at once, or ask again: each round looks afresh. */
  function serve(): void {
    while (running < concurrency) {
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
    clock.setTimeout(announce, positionIntervalMs)
  }

  function announce(): void {
    isAnnouncing = false
    const now = clock.now()
    let position = 0
    // The order is taken first: one that is told may cancel.
    for (const { value: queued } of inOrder(lanes)) {
      position++
      if (queued.state !== 'waiting' || queued.toldPosition === position) continue
      if (now - queued.toldAt < positionIntervalMs) announceLater()
      else tell(queued, position, now)
    }
  }

  function tell(queued: Queued, position: number, now: number): void {
    queued.toldPosition = position
    queued.toldAt = now
    queued.waiter.moved(position)
  }

  return {
    request(key, waiter) {
      if (running >= concurrency && lanes.size() >= limit) return undefined
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
  }
}
