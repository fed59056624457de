import type { RedisUpkeep } from './redis-upkeep.ts'

/** Enters channels where they are found when they may be forgotten, and forgets them. */
export interface RedisExpiry {
  /** A channel has its first entry. Settles when it has been entered, or could not be. */
  created(key: string, time: number): Promise<void>
  /** See `ChannelLog.expire`. `onForgotten` is told of each before the next is looked at. */
  expire(appendedBefore: number, keep: ReadonlySet<string>): Promise<readonly string[]>
}

/** See {@link createRedisExpiry}. `inTime` gives a piece of work the time of one that is asked, and tries it again within. */
export interface RedisExpiryOptions {
  readonly upkeep: Pick<RedisUpkeep, 'created' | 'keep' | 'expire'>
  readonly ttlMs: number
  now(): number
  inTime<T>(work: () => Promise<T>): Promise<T>
  onForgotten(key: string): void
}

/** A channel with members is renewed several times in its life, and outlives a while without Redis. */
const RENEWALS = 4

/** One process's part of it. */
export function createRedisExpiry({ upkeep, ttlMs, now, inTime, onForgotten }: RedisExpiryOptions): RedisExpiry {
  const entering = new Set<Promise<void>>()
  const renewed = new Map<string, number>()

  async function forget(appendedBefore: number, keep: ReadonlySet<string>): Promise<readonly string[]> {
    const forgotten: string[] = []
    for await (const key of upkeep.expire(appendedBefore, keep)) {
      forgotten.push(key)
      onForgotten(key)
    }
    return forgotten
  }

  return {
    created(key, time) {
      const done = inTime(() => upkeep.created(key, time))
        .catch(() => {
          // Redis forgets the channel by itself, a while later than this process would have.
        })
        .then(() => void entering.delete(done))
      entering.add(done)
      return done
    },
    async expire(appendedBefore, keep) {
      const time = Math.floor(now())
      const pending = [...entering]
      for (const key of renewed.keys()) if (!keep.has(key)) renewed.delete(key)
      for (const key of keep) {
        if (time - (renewed.get(key) ?? 0) < ttlMs / RENEWALS) continue
        await inTime(() => upkeep.keep(key, time))
        renewed.set(key, time)
      }
      const forgotten = await forget(appendedBefore, keep)
      if (pending.length === 0) return forgotten
      // Not waited for before: where Redis is away, that would take as long again.
      await Promise.all(pending)
      return [...forgotten, ...(await forget(appendedBefore, keep))]
    },
  }
}
