import type { RedisAsk } from './redis-ask.ts'
import { ALIVE, GIVE_BACK, SHARE, TAKE } from './redis-coordination-scripts.ts'

/** Counters that all processes share: each has a share of a counter, which goes with it. */
export interface RedisPlaces {
  take(counter: string, limit: number): Promise<boolean>
  giveBack(counter: string): Promise<void>
  /** Renews this process's shares; answers whether Redis answered all. */
  renew(): Promise<boolean>
  /** Gives everything back. */
  close(): Promise<void>
}

/** See {@link createRedisPlaces}. */
export interface RedisPlacesOptions {
  readonly ask: RedisAsk
  readonly owner: string
  /** How long a share stands that is not renewed. */
  readonly shareMs: number
}

interface Own {
  taken: number
  /** Asked of Redis and not answered. */
  underWay: number
}

const PROCESSES = 'sw:{processes}:alive'

/**
 * While Redis is away, a process gives places of its own part of a limit: the limit divided by the number of processes
 * that it last knew of, and at least one. What it gave so is put into Redis when that is back.
 */
export function createRedisPlaces({ ask, owner, shareMs }: RedisPlacesOptions): RedisPlaces {
  const counters = new Map<string, Own>()
  let processes = 1
  let isAway = false

  const keys = (counter: string) => [`sw:{${counter}}:places`, `sw:{${counter}}:shares`]

  function ownOf(counter: string): Own {
    const own = counters.get(counter) ?? { taken: 0, underWay: 0 }
    counters.set(counter, own)
    return own
  }

  function takeOfPart(own: Own, limit: number): boolean {
    if (own.taken >= Math.min(limit, Math.max(1, Math.floor(limit / processes)))) return false
    own.taken += 1
    return true
  }

  async function renewShare(counter: string, own: Own): Promise<void> {
    // What is under way may be counted in Redis and not here.
    const isKnown = own.underWay === 0
    const { taken } = own
    await ask.once(SHARE, keys(counter), [owner, shareMs, isKnown ? taken : ''])
    if (isKnown && taken === 0 && own.taken === 0 && own.underWay === 0) counters.delete(counter)
  }

  return {
    async take(counter, limit) {
      const own = ownOf(counter)
      if (isAway) return takeOfPart(own, limit)
      own.underWay += 1
      try {
        const isTaken = (await ask.once(TAKE, keys(counter), [owner, shareMs, limit])) === 1
        if (isTaken) own.taken += 1
        return isTaken
      } catch {
        // Those who come meanwhile need not wait to learn it; the next renewal that works ends it.
        isAway = true
        return takeOfPart(own, limit)
      } finally {
        own.underWay -= 1
      }
    },
    async giveBack(counter) {
      const own = counters.get(counter)
      if (own === undefined || own.taken === 0) return
      own.taken -= 1
      if (isAway) return
      own.underWay += 1
      try {
        await ask.once(GIVE_BACK, keys(counter), [owner, shareMs])
      } catch {
        // It is given back here; the next renewal says so.
        isAway = true
      } finally {
        own.underWay -= 1
      }
    },
    async renew() {
      try {
        const alive = ask.once(ALIVE, [PROCESSES], [owner, shareMs])
        await Promise.all([alive, ...[...counters].map(([counter, own]) => renewShare(counter, own))])
        processes = Math.max(1, Number(await alive))
        isAway = false
        return true
      } catch {
        isAway = true
        return false
      }
    },
    async close() {
      const ended = [...counters.keys()].map((counter) => ask.once(SHARE, keys(counter), [owner, shareMs, 0]))
      counters.clear()
      // What Redis does not take now goes with this process's share.
      await Promise.allSettled([...ended, ask.once(ALIVE, [PROCESSES], [owner, 0])])
    },
  }
}
