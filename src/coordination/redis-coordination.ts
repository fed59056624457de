import { randomBytes } from 'node:crypto'
import { Cluster } from 'ioredis'
import type { Logger } from 'pino'
import { createClient, pubSubName, whenReady } from '../log/redis-clients.ts'
import { type RedisClock, realClock } from '../log/redis-deadline.ts'
import { watchReach } from '../log/redis-reach.ts'
import { createSubscriptions } from '../log/redis-subscriptions.ts'
import { parseRedisUrl } from '../log/redis-url.ts'
import type { Coordination, PresenceListener, RefillListener } from './coordination.ts'
import { createAsk } from './redis-ask.ts'
import { createRedisLeases } from './redis-leases.ts'
import { createRedisPlaces } from './redis-places.ts'
import { createRedisPresence } from './redis-presence.ts'
import { createRedisQueue, type RedisQueue } from './redis-queue.ts'
import { createRedisRate, type RedisRate } from './redis-rate.ts'
import { createRedisSignals } from './redis-signals.ts'

/** See {@link openRedisCoordination}. */
export interface RedisCoordinationOptions {
  /** See `parseRedisUrl`. */
  readonly url: string
  readonly clock?: RedisClock
  /** How long a process that died or froze holds what it had, in ms. */
  readonly leaseMs?: number
  /** Within how many ms everything that is asked settles. */
  readonly timeoutMs?: number
  readonly logger?: Pick<Logger, 'warn' | 'info'>
}

/** Coordination by a Redis. */
export interface RedisCoordination extends Coordination {
  /** Releases leases, leaves rooms, gives places back, and lets go of the connections. */
  close(): Promise<void>
}

const LEASE_MS = 3_000
const TIMEOUT_MS = 1_000
/** How often all is renewed within a lease. */
const RENEWALS = 4
/** Members and places are gone after this part of a lease, so that they are found to be before it is over. */
const MEMBER_PART = 2 / 3
const OWNER_BYTES = 9

/**
 * Coordination of many processes by a Redis 7. While Redis is away, leases are lost when their time is over, presence
 * cannot be told, signals are lost, and limits are a process's own part. It heals by itself.
 * Rejects in one sentence, without the password, where the address is wrong or nobody answers.
 */
export async function openRedisCoordination(options: RedisCoordinationOptions): Promise<RedisCoordination> {
  const { url, clock = realClock, leaseMs = LEASE_MS, timeoutMs = TIMEOUT_MS, logger } = options
  const target = parseRedisUrl(url)
  const client = createClient(target, 'commands', timeoutMs)
  const listener = createClient(target, 'wakeUps', timeoutMs)
  const clients = [client, listener]
  try {
    await Promise.all(clients.map((each) => whenReady(each, target.description, timeoutMs * 2)))
  } catch (error) {
    for (const each of clients) each.disconnect()
    throw error
  }

  const owner = randomBytes(OWNER_BYTES).toString('base64url')
  // Nobody need be told by it: whoever asks is.
  const reach = watchReach(client, clock, () => {})
  const ask = createAsk({ client, clock, reach, timeoutMs })
  const memberMs = Math.ceil(leaseMs * MEMBER_PART)
  let onPresence: PresenceListener = () => {}
  let onRefilled: RefillListener = () => {}
  const leases = createRedisLeases({ ask, clock, owner, leaseMs })
  const presence = createRedisPresence({
    ask,
    clock,
    memberMs,
    patienceMs: timeoutMs / 2,
    onPresence: (...change) => onPresence(...change),
    onRefilled: (...found) => onRefilled(...found),
  })
  const places = createRedisPlaces({ ask, clock, owner, aliveMs: memberMs, timeoutMs })
  const queues = new Map<string, RedisQueue>()
  const rates = new Map<string, RedisRate>()
  const subscriptions = createSubscriptions({
    client: listener,
    onMessage(name, message) {
      signals.heard(name, message)
      for (const queue of queues.values()) if (queue.channel === name) queue.heard(message)
    },
    onSubscribed() {},
  })
  const signals = createRedisSignals({ client, subscriptions, owner })
  const running = new Set<Promise<unknown>>()
  let timer: object | undefined
  let closing: Promise<void> | undefined
  let isAway = false
  let renewedAt = clock.now()
  let unsteadyAt = Number.NEGATIVE_INFINITY

  /**
   * After Redis was away (or this process was), the others' members may have expired though they live: they get the time
   * of a lease to renew them before they are taken for dead.
   */
  async function renew(): Promise<void> {
    const begin = clock.now()
    if (begin - renewedAt > memberMs) unsteadyAt = begin
    renewedAt = begin
    subscriptions.tend()
    const isSteady = begin - unsteadyAt >= leaseMs
    const answered = await Promise.all([
      leases.renew(),
      presence.renew(isSteady),
      places.renew(),
      ...[...queues.values()].map((queue) => queue.renew(isSteady)),
    ])
    const wasAway = isAway
    isAway = !answered.every((isAnswered) => isAnswered)
    if (isAway) unsteadyAt = clock.now()
    for (const rate of rates.values()) rate.redisIs(isAway ? 'away' : 'there')
    if (isAway && !wasAway) logger?.warn('Redis does not answer: limits are counted by this process alone')
    if (!isAway && wasAway) logger?.info('Redis answers again')
  }

  function keepRenewing(): void {
    timer = clock.setTimeout(() => {
      const renewing = renew().finally(() => {
        running.delete(renewing)
        if (closing === undefined) keepRenewing()
      })
      // What it says after this process has left would stand for a process that is gone.
      running.add(renewing)
    }, leaseMs / RENEWALS)
  }

  async function whileOpen<T>(work: () => Promise<T>): Promise<T> {
    if (closing !== undefined) throw new Error('the coordination is closed')
    const done = work()
    running.add(done)
    return done.finally(() => running.delete(done))
  }

  async function close(): Promise<void> {
    if (timer !== undefined) clock.clearTimeout(timer)
    // A lease that comes now would be nobody's to release.
    await Promise.allSettled(running)
    for (const rate of rates.values()) rate.close()
    const all = [...queues.values()].map((queue) => queue.close())
    await Promise.all([leases.close(), presence.close(), places.close(), ...all])
    reach.end()
    for (const each of clients) each.disconnect()
  }

  await renew()
  keepRenewing()
  return {
    lease: (name, onLost) => whileOpen(() => leases.lease(name, onLost)),
    isHeld: (name) => whileOpen(() => leases.isHeld(name)),
    listen: signals.listen,
    enter: (room, member) => whileOpen(() => presence.enter(room, member)),
    leave: (room, member) => whileOpen(() => presence.leave(room, member)),
    members: (room) => whileOpen(() => presence.members(room)),
    onPresence(listener) {
      onPresence = listener
    },
    onRefilled(listener) {
      onRefilled = listener
    },
    take: (counter, limit) => whileOpen(() => places.take(counter, limit)),
    giveBack: (counter) => whileOpen(() => places.giveBack(counter)),
    queue(name, limits) {
      const known = queues.get(name)
      if (known !== undefined) return known
      const publish = client instanceof Cluster ? 'SPUBLISH' : 'PUBLISH'
      const published = (channel: string) => pubSubName(client, channel)
      const shared = { ask, clock, owner, publish, published, processes: places.processes } as const
      const queue = createRedisQueue({ ...shared, name, ...limits, aliveMs: memberMs, patienceMs: timeoutMs / 2 })
      queues.set(name, queue)
      subscriptions.subscribe(queue.channel)
      return queue
    },
    rate(name, options) {
      const rate = rates.get(name) ?? createRedisRate({ ask, clock, name, processes: places.processes, ...options })
      rates.set(name, rate)
      return rate
    },
    close() {
      closing ??= close()
      return closing
    },
  }
}
