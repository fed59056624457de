import type { Round } from './redis-round.ts'
import type { RedisUpkeep } from './redis-upkeep.ts'

/** Enters channels where they are found when they may be forgotten, and forgets them. */
export interface RedisExpiry {
  /** A channel has its first entry. Settles when it has been entered, or could not be. */
  created(key: string, time: number): Promise<void>
  /** See `ChannelLog.expire`. `onForgotten` is told of each as it goes. */
  expire(appendedBefore: number, keep: ReadonlySet<string>, round: Round): Promise<readonly string[]>
}

/** See {@link createRedisExpiry}. `inTime` gives a piece of work the time of one that is asked, and tries it again within. */
export interface RedisExpiryOptions {
  readonly upkeep: Pick<RedisUpkeep, 'created' | 'keep' | 'expire'>
  now(): number
  inTime<T>(work: () => Promise<T>): Promise<T>
  onForgotten(key: string): void
}

/** One process's part of it. */
export function createRedisExpiry({ upkeep, now, inTime, onForgotten }: RedisExpiryOptions): RedisExpiry {
  const entering = new Set<Promise<void>>()

  async function forget(appendedBefore: number, keep: ReadonlySet<string>, round: Round): Promise<string[]> {
    const forgotten: string[] = []
    const tell = (key: string) => {
      forgotten.push(key)
      onForgotten(key)
    }
    await upkeep.expire(appendedBefore, keep, tell, round)
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
    async expire(appendedBefore, keep, round) {
      const pending = [...entering]
      // Side by side: where Redis is away, one after the other would take as long again.
      const [forgotten] = await Promise.all([
        forget(appendedBefore, keep, round),
        upkeep.keep(keep, Math.floor(now()), round),
      ])
      if (pending.length === 0) return forgotten
      // Not waited for before, for the same reason.
      await Promise.all(pending)
      return [...forgotten, ...(await forget(appendedBefore, keep, round))]
    },
  }
}
