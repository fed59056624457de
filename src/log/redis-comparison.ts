import type { RedisClient } from './redis-clients.ts'
import type { RedisClock } from './redis-deadline.ts'
import type { Feeds } from './redis-feeds.ts'
import { keysOf } from './redis-keys.ts'

/** Compares the heads of followed channels with what their followers were told: finds wake-ups that never came. */
export interface Comparison {
  /** Compares these now. What cannot be is compared in its turn. */
  compare(keys: readonly string[]): Promise<void>
  end(): void
}

/** How often some of the followed channels are compared, in ms. */
const COMPARE_MS = 1_000
/** How many at a time; where more are followed, they take turns. 18,000 at once would hold the process up for 0.2 s. */
const COMPARED = 2_000

/** Goes on every second, by the clock, until it is ended; calls `onTick` each time. */
export function keepComparing(client: RedisClient, feeds: Feeds, clock: RedisClock, onTick: () => void): Comparison {
  let turn: readonly string[] = []
  let isComparing = false
  let timer = clock.setTimeout(tick, COMPARE_MS)

  async function compareOne(key: string): Promise<void> {
    const place = feeds.placeOf(key)
    if (place === undefined) return
    const [epoch, shown] = await client.hmget(keysOf(key).meta, 'epoch', 'shown')
    const head = { epoch: epoch ?? undefined, offset: epoch === null ? 0 : Number(shown ?? 0) }
    feeds.compared(key, head, place)
  }

  async function compare(keys: readonly string[]): Promise<void> {
    await Promise.allSettled(keys.map(compareOne))
  }

  function tick(): void {
    timer = clock.setTimeout(tick, COMPARE_MS)
    onTick()
    if (isComparing) return
    isComparing = true
    if (turn.length === 0) turn = [...feeds.keys()]
    const keys = turn.slice(0, COMPARED)
    turn = turn.slice(COMPARED)
    void compare(keys).then(() => {
      isComparing = false
    })
  }

  return { compare, end: () => clock.clearTimeout(timer) }
}
