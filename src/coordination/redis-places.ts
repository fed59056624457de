import { z } from 'zod'
import type { RedisClock } from '../log/redis-deadline.ts'
import type { RedisAsk } from './redis-ask.ts'
import { ALIVE, GIVE_BACK, SHARE, TAKE } from './redis-coordination-scripts.ts'
import { SHARDS, shardOf } from './redis-shards.ts'

/** Counters that all processes share: each has a share of a counter, which goes with it. */
export interface RedisPlaces {
  take(counter: string, limit: number): Promise<boolean>
  giveBack(counter: string): Promise<void>
  /** How many processes there are, as far as is known. */
  processes(): number
  /** Says that this process lives, and puts its shares right; answers whether Redis answered all. */
  renew(): Promise<boolean>
  /** Gives everything back. */
  close(): Promise<void>
}

/** See {@link createRedisPlaces}. */
export interface RedisPlacesOptions {
  readonly ask: RedisAsk
  readonly clock: RedisClock
  readonly owner: string
  /** How long the shares of a process stand that does not say that it lives. */
  readonly aliveMs: number
  /** How long what was asked may be on its way. */
  readonly timeoutMs: number
}

interface Own {
  taken: number
  /** Asked of Redis and not answered. */
  underWay: number
  /** When Redis was last known to have it right, by the clock. */
  rightAt: number
  /** Until when something that failed may still arrive and be done: it is said again after that. */
  doubtfulUntil: number
}

/** How long Redis keeps a counter that nobody touches. It is said again before that. */
const KEPT_MS = 3_600_000
const SAID_AGAIN_MS = KEPT_MS / 2
const WRONG = Number.NEGATIVE_INFINITY

const aliveReply = z.tuple([z.number(), z.number()])

/**
 * Each group of counters has the processes that live beside it, so that counters need no renewal.
 * While Redis is away, a process gives places of its own part of a limit: the limit divided by the number of processes
 * that it last knew of, and at least one. What it gave so is put into Redis when that is back.
 */
export function createRedisPlaces({ ask, clock, owner, aliveMs, timeoutMs }: RedisPlacesOptions): RedisPlaces {
  const shards = Array.from({ length: SHARDS }, () => new Map<string, Own>())
  let processes = 1
  let isAway = false

  const aliveKey = (shard: number) => `sw:{places-${shard}}:alive`
  const keys = (counter: string) => [`sw:{places-${shardOf(counter)}}:of:${counter}`, aliveKey(shardOf(counter))]
  const ownIn = (counter: string) => shards[shardOf(counter)]

  function ownOf(counter: string): Own {
    const own = ownIn(counter)?.get(counter) ?? { taken: 0, underWay: 0, rightAt: clock.now(), doubtfulUntil: 0 }
    ownIn(counter)?.set(counter, own)
    return own
  }

  function forgetEmpty(counter: string, own: Own): void {
    if (own.taken === 0 && own.underWay === 0 && own.rightAt !== WRONG) ownIn(counter)?.delete(counter)
  }

  function takeOfPart(own: Own, limit: number): boolean {
    own.rightAt = WRONG
    if (own.taken >= Math.min(limit, Math.max(1, Math.floor(limit / processes)))) return false
    own.taken += 1
    return true
  }

  async function say(counter: string, own: Own): Promise<void> {
    const begin = clock.now()
    const { taken } = own
    await ask.once(SHARE, keys(counter), [owner, KEPT_MS, taken])
    // What was taken meanwhile without Redis is said the next time.
    if ((own.taken === taken || own.underWay > 0) && begin >= own.doubtfulUntil) own.rightAt = begin
    forgetEmpty(counter, own)
  }

  async function renewShard(own: Map<string, Own>, shard: number): Promise<void> {
    const [alive, isNew] = aliveReply.parse(await ask.once(ALIVE, [aliveKey(shard)], [owner, aliveMs]))
    processes = alive
    const wrong: Promise<void>[] = []
    for (const [counter, each] of own) {
      if (isNew === 1) each.rightAt = WRONG
      // What is under way may be counted in Redis and not here.
      if (each.underWay === 0 && clock.now() - each.rightAt > SAID_AGAIN_MS) wrong.push(say(counter, each))
    }
    await Promise.all(wrong)
  }

  return {
    processes: () => processes,
    async take(counter, limit) {
      const own = ownOf(counter)
      if (isAway) return takeOfPart(own, limit)
      own.underWay += 1
      try {
        const isTaken = (await ask.once(TAKE, keys(counter), [owner, KEPT_MS, limit])) === 1
        if (isTaken) own.taken += 1
        return isTaken
      } catch {
        // Those who come meanwhile need not wait to learn it; the next renewal that works ends it.
        isAway = true
        own.doubtfulUntil = clock.now() + timeoutMs
        return takeOfPart(own, limit)
      } finally {
        own.underWay -= 1
        forgetEmpty(counter, own)
      }
    },
    async giveBack(counter) {
      const own = ownIn(counter)?.get(counter)
      if (own === undefined || own.taken === 0) return
      own.taken -= 1
      if (isAway) {
        own.rightAt = WRONG
        return
      }
      own.underWay += 1
      try {
        await ask.once(GIVE_BACK, keys(counter), [owner, KEPT_MS])
      } catch {
        // It is given back here; the next renewal says so.
        isAway = true
        own.rightAt = WRONG
        own.doubtfulUntil = clock.now() + timeoutMs
      } finally {
        own.underWay -= 1
        forgetEmpty(counter, own)
      }
    },
    async renew() {
      try {
        await Promise.all(shards.map(renewShard))
        isAway = false
        return true
      } catch {
        isAway = true
        return false
      }
    },
    async close() {
      // Its shares go with it.
      await Promise.allSettled(shards.map((_, shard) => ask.once(ALIVE, [aliveKey(shard)], [owner, 0])))
    },
  }
}
