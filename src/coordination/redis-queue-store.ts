import { z } from 'zod'
import type { RedisClock } from '../log/redis-deadline.ts'
import type { QueueLimits } from './fair-queue.ts'
import type { RedisAsk } from './redis-ask.ts'
import { CLAIM, LEAVE_QUEUE, RELEASE, RENEW_QUEUE, REQUEST } from './redis-queue-scripts.ts'

/** One process's way to a queue in Redis. All reject as {@link RedisAsk} does. */
export interface RedisQueueStore {
  /** The pub/sub channel on which a process is told what others' doings granted or refused it: `<ticket>`, `!<ticket>`. */
  readonly channel: string
  /** Answers the position; 0 where it runs, -1 where too many wait. */
  request(ticket: string): Promise<number>
  /** Answers which tickets of this process were granted by that. */
  release(tickets: readonly string[]): Promise<readonly string[]>
  /** Says that these run, be there room or not. */
  claim(tickets: readonly string[]): Promise<void>
  /** Says that this process lives; answers its tickets that run, and the position of each that waits, 0 where it does not. */
  renew(
    waiting: readonly string[],
    sweeps: boolean,
  ): Promise<{ running: readonly string[]; positions: readonly number[] }>
  /** Nothing of this process's is left. */
  leave(): Promise<void>
}

/** See {@link createRedisQueueStore}. */
export interface RedisQueueStoreOptions extends QueueLimits {
  readonly ask: RedisAsk
  readonly clock: RedisClock
  readonly name: string
  /** Names this process among all that ever were, without a colon. */
  readonly owner: string
  /** How a script publishes, and under which name. */
  readonly publish: 'PUBLISH' | 'SPUBLISH'
  readonly published: (name: string) => string
  /** How long the tickets of a process stand that does not say that it lives. */
  readonly aliveMs: number
  /** How old a command may be that takes the dead out. */
  readonly patienceMs: number
}

/** How long Redis keeps a queue that nobody uses. */
const KEPT_MS = 3_600_000

const position = z.number()
const tickets = z.array(z.string())
const renewal = z.tuple([z.number(), tickets, z.array(z.number())])

/** The queue's keys have one hash tag, and what is said of it one round trip. */
export function createRedisQueueStore(options: RedisQueueStoreOptions): RedisQueueStore {
  const { ask, clock, name, owner, concurrency, limit, publish, published, aliveMs, patienceMs } = options
  const base = `sw:{queue-${name}}:`
  const keys = ['running', 'waiting', 'numbers', 'arrivals', 'lanes', 'sizes', 'state', 'owners'].map(
    (key) => base + key,
  )
  const granted = `${base}granted:`
  const common = [owner, concurrency, publish, published(granted)]
  /** How far Redis's clock is ahead of this one; rather less than more. */
  let ahead: number | undefined

  return {
    channel: granted + owner,
    request: async (ticket) => position.parse(await ask.again(REQUEST, keys, [...common, ticket, limit, aliveMs])),
    release: async (given) => tickets.parse(await ask.again(RELEASE, keys, [...common, ...given])),
    async claim(taken) {
      await ask.once(CLAIM, keys, [...common, aliveMs, ...taken])
    },
    async renew(waiting, sweeps) {
      const sweepsUntil = sweeps && ahead !== undefined ? Math.floor(clock.now() + ahead + patienceMs) : 0
      const args = [...common, aliveMs, sweepsUntil, KEPT_MS, ...waiting]
      const [time, running, positions] = renewal.parse(await ask.once(RENEW_QUEUE, keys, args))
      ahead = time - clock.now()
      return { running, positions }
    },
    async leave() {
      await ask.once(LEAVE_QUEUE, keys, common)
    },
  }
}
