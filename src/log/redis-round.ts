import { z } from 'zod'
import { atOnce } from './at-once.ts'
import { LogError, LogUnreachable, type OnPartFailed } from './channel-log.ts'
import { type RedisClient, serverOf } from './redis-clients.ts'
import { type IndexName, indexKeys } from './redis-keys.ts'

/** Asks Redis something of a key, within the time that a command has. */
export type AskOf = <R>(redisKey: string, attempt: () => Promise<R>) => Promise<R>

/** A channel, and what is known of it. */
export type OfChannel = readonly [key: string, ...known: unknown[]]

/** What is done to one channel. */
export type WorkOn<T extends OfChannel> = (item: T, ask: AskOf) => Promise<void>

/**
 * One round of work on many channels: what fails is told by channel, and the rest is done. What is to be asked of a server
 * that did not answer once is not asked, and the channel left out: each would cost a timeout.
 */
export interface Round {
  /** So many channels at once. */
  each<T extends OfChannel>(most: number, items: Iterable<T>, work: WorkOn<T>): Promise<void>
  /** Channels of an index: of all its shards side by side, so many at once in each. A shard that cannot be read is told. */
  eachIn<T extends OfChannel>(
    index: IndexName,
    read: (shard: string) => Promise<readonly T[]>,
    most: number,
    work: WorkOn<T>,
  ): Promise<void>
}

/** See {@link Round}. `inTime` rejects with LogError. */
export function beginRound(
  client: RedisClient,
  inTime: <R>(attempt: () => Promise<R>) => Promise<R>,
  onFailed: OnPartFailed,
): Round {
  const away = new Set<string>()
  const ask: AskOf = async (redisKey, attempt) => {
    const server = serverOf(client, redisKey)
    if (away.has(server)) throw new LeftOut()
    try {
      return await inTime(attempt)
    } catch (error) {
      if (error instanceof LogUnreachable) away.add(server)
      throw error
    }
  }

  async function telling(part: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof LeftOut)) onFailed(part, told(error))
    }
  }

  function each<T extends OfChannel>(most: number, items: Iterable<T>, work: WorkOn<T>): Promise<void> {
    return atOnce(most, items, (item) => telling(item[0], () => work(item, ask)))
  }

  return {
    each,
    async eachIn(index, read, most, work) {
      const ofShard = async (shard: string) => each(most, await ask(shard, () => read(shard)), work)
      await Promise.all(indexKeys(index).map((shard) => telling(shard, () => ofShard(shard))))
    },
  }
}

/** The server is away, which has been told by another channel of it. */
class LeftOut extends Error {}

function told(error: unknown): LogError {
  if (error instanceof LogError) return error
  if (error instanceof z.ZodError) return new LogError('failed', 'what Redis has stored is damaged')
  throw error
}
