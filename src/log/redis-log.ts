import { type Entry, turnsOpenedBy } from '../protocol/entry.ts'
import type { Position } from '../protocol/position.ts'
import {
  type Appended,
  type AppendOptions,
  type ChannelLog,
  LogError,
  type LogRecord,
  type OnPartFailed,
  type ReadLimit,
} from './channel-log.ts'
import { inParts } from './in-parts.ts'
import { parseEntry } from './parse-entry.ts'
import { createClient, serverOf, whenReady } from './redis-clients.ts'
import { keepComparing } from './redis-comparison.ts'
import { createConfirmed } from './redis-confirm.ts'
import { type RedisClock, realClock, untilDeadline } from './redis-deadline.ts'
import { createRedisExpiry } from './redis-expiry.ts'
import { createFeeds } from './redis-feeds.ts'
import { createInOrder } from './redis-in-order.ts'
import { keysOf, PROBE_KEYS } from './redis-keys.ts'
import { watchReach } from './redis-reach.ts'
import { beginRound, type Round } from './redis-round.ts'
import { createRedisStore, isOwn, type RedisPage, type RedisRecord } from './redis-store.ts'
import { createRedisUpkeep } from './redis-upkeep.ts'
import { PROBE } from './redis-upkeep-script.ts'
import { parseRedisUrl } from './redis-url.ts'
import { createWakeUps } from './redis-wake-ups.ts'
import { createUniqueNames } from './unique-names.ts'

/** See {@link openRedisLog}. */
export interface RedisLogOptions {
  /** See `parseRedisUrl`. */
  readonly url: string
  /** How long after its last append a channel may be forgotten, in ms. Redis does it by itself some time later. */
  readonly ttlMs: number
  /** How many replicas must have an entry before it is shown to anyone. */
  readonly waitReplicas: number
  /** Within how many ms everything that is asked settles. */
  readonly timeoutMs?: number
  readonly clock?: RedisClock
  /** In ms since 1970. */
  readonly now?: () => number
}

/** What was done since the log was opened. */
export interface RedisLogStatistics {
  /** Tries of an append after its first. */
  readonly retries: number
  /** Reads for followers, because a wake-up was missed or did not carry its entry. */
  readonly backfills: number
}

/** A log in Redis, and what it did so far. */
export interface RedisLog extends ChannelLog {
  statistics(): RedisLogStatistics
}

/** Users are told of a failure within a second, the way to them and back included. */
const TIMEOUT_MS = 800
/** How long a wake-up may take; what it tells is read after that. */
const ON_ITS_WAY_MS = 50
/** The part of the time of an append that replicas have to confirm it: what is asked meanwhile waits for as long. */
const WAIT_PART = 0.4
/** How many characters may wait for Redis. */
const MAX_WAITING = 64 * 1024 * 1024
/** A channel with members is renewed several times in its life, and outlives a while without Redis. */
const RENEWALS = 4
const KEPT_PART = 1.5
const KEPT_MORE_MS = 300_000
const PROBE_MS = 60_000

/**
 * Opens the log in a Redis 7 that many processes share. What it acknowledges is as safe as that Redis is; with
 * `waitReplicas` it survives the loss of a master. A Redis that lost or may have lost entries shows as a new epoch.
 * Rejects with {@link LogError} in one sentence, without the password, where the address is wrong or nobody answers.
 */
export async function openRedisLog(options: RedisLogOptions): Promise<RedisLog> {
  const { url, ttlMs, waitReplicas, timeoutMs = TIMEOUT_MS, clock = realClock, now = Date.now } = options
  const target = parseRedisUrl(url)
  const client = createClient(target, 'commands', timeoutMs)
  const listener = createClient(target, 'wakeUps', timeoutMs)
  const writer = waitReplicas > 0 ? createClient(target, 'commands', timeoutMs) : undefined
  const clients = [client, listener, ...(writer === undefined ? [] : [writer])]
  try {
    await Promise.all(clients.map((each) => whenReady(each, target.description, timeoutMs * 2)))
  } catch (error) {
    for (const each of clients) each.disconnect()
    throw error
  }

  const keptMs = Math.ceil(ttlMs * KEPT_PART) + KEPT_MORE_MS
  const waitMs = Math.ceil(timeoutMs * WAIT_PART)
  const confirmed = writer === undefined ? undefined : createConfirmed(writer, waitReplicas, waitMs)
  const publish = target.kind === 'cluster' ? 'SPUBLISH' : 'PUBLISH'
  const reach = watchReach(client, clock, (server) =>
    feeds.unreachable((key) => serverOf(client, keysOf(key).meta) === server),
  )
  const store = createRedisStore({ client, reach, confirmed, publish, keptMs })
  const upkeep = createRedisUpkeep(client, keptMs, ttlMs / RENEWALS)
  const inOrder = createInOrder()
  const newNonce = createUniqueNames()
  const running = new Set<Promise<unknown>>()
  let closing: Promise<void> | undefined
  let waiting = 0
  let retries = 0
  let backfills = 0

  const tryUntil = <T>(deadline: number, attempt: (n: number) => Promise<T>) => untilDeadline(clock, deadline, attempt)
  const inTime = <T>(attempt: () => Promise<T>) => tryUntil(clock.now() + timeoutMs, attempt)

  const feeds = createFeeds({
    read: (key, after, limit, isSeen) => inTime(() => store.read(key, after, limit, isSeen)),
    inOrder: inOrder.add,
    subscribe: (key) => wakeUps.subscribe(key),
    unsubscribe: (key) => wakeUps.unsubscribe(key),
    async quiet(key) {
      await inOrder.settled(key)
      await new Promise<void>((resolve) => clock.setTimeout(resolve, ON_ITS_WAY_MS))
    },
    onBackfill() {
      backfills += 1
    },
  })
  const wakeUps = createWakeUps({
    client: listener,
    onWakeUp: (key, epoch, offset, time, text) =>
      feeds.heard(key, epoch, offset, text === '' ? undefined : { time, text }),
    onSubscribed: (keys) => void comparison.compare(keys),
  })

  const comparison = keepComparing(client, feeds, clock, () => wakeUps.tend())

  const expiry = createRedisExpiry({ upkeep, now, inTime, onForgotten: feeds.forgotten })

  /** What is asked before the log closes is finished. */
  async function ask<T>(work: () => Promise<T>): Promise<T> {
    if (closing !== undefined) throw new LogError('closed', 'the log is closed')
    const done = work()
    running.add(done)
    return done.finally(() => running.delete(done))
  }

  /** Long work, of which each part has its own time. */
  const inRound = <T>(onFailed: OnPartFailed | undefined, work: (round: Round) => Promise<T>) =>
    ask(() => inParts(onFailed, (told) => work(beginRound(client, inTime, told))))

  /** Asked after the appends of this process that were asked before. */
  const askAfter = <T>(key: string, attempt: () => Promise<T>) => {
    const deadline = clock.now() + timeoutMs
    return ask(() => inOrder.settled(key).then(() => tryUntil(deadline, attempt)))
  }

  /**
   * Reads, and lets the channel's followers know what that tells of its epoch before anybody goes on by it: what comes to them
   * afterwards is of that log, or a later one.
   */
  async function readInStep(key: string, after: Position, limit: ReadLimit): Promise<RedisPage> {
    const place = feeds.placeOf(key)
    const page = await askAfter(key, () => store.read(key, after, limit, false))
    if (place !== undefined) await feeds.agree(key, page.head, place)
    return page
  }

  async function append(key: string, entry: Entry, options: AppendOptions): Promise<Appended> {
    const text = JSON.stringify(entry)
    if (waiting + text.length > MAX_WAITING) throw new LogError('failed', 'too much waits for Redis')
    const time = Math.floor(now())
    const opens = turnsOpenedBy(entry)
    const ends = entry.type === 'ai_stream_end'
    const nonce = newNonce()
    const deadline = clock.now() + timeoutMs
    feeds.propose(key, options.epoch)
    waiting += text.length
    try {
      return await inOrder.add(key, () =>
        tryUntil(deadline, async (n) => {
          if (n > 1) retries += 1
          if (opens > 0) await upkeep.opening(key)
          // What its followers were told meanwhile counts as seen by the writer: a log without it is another one.
          const told = feeds.toldUnder(key, options.epoch)
          const writer = told > options.seenHead ? { ...options, seenHead: told } : options
          const append = { text, time, opens, ends, nonce, writer }
          const { epoch, offset, outcome } = await store.append(key, append, deadline - clock.now())
          await feeds.wrote(key, epoch, isOwn(outcome) ? { offset, entry, text, time } : offset)
          if (outcome === 'stale') throw new LogError('stale', 'another entry came first')
          const repeated = outcome === 'repeated'
          if (offset === 1 && !repeated) noteCreated(key, time)
          return { epoch, offset, repeated }
        }),
      )
    } finally {
      waiting -= text.length
    }
  }

  function noteCreated(key: string, time: number): void {
    const noting = expiry.created(key, time)
    running.add(noting)
    void noting.then(() => running.delete(noting))
  }

  async function close(): Promise<void> {
    while (running.size > 0) await Promise.allSettled(running)
    comparison.end()
    reach.end()
    feeds.end()
    for (const each of clients) each.disconnect()
  }

  return {
    description: target.description,
    append: (key, entry, writer) => ask(() => append(key, entry, writer)),
    head: async (key) => (await readInStep(key, START, NO_RECORDS)).head,
    async read(key, after, limit) {
      const { head, records } = await readInStep(key, after, limit)
      if (records === undefined) return { honoured: false, head }
      return { honoured: true, head, records: records.map((record) => toRecord(key, record)) }
    },
    async find(key, producer, sequence) {
      const found = await askAfter(key, () => store.find(key, producer, sequence))
      return found === undefined ? undefined : toRecord(key, found)
    },
    follow: feeds.follow,
    unfinished: (onFailed, running) => inRound(onFailed, (round) => upkeep.unfinished(round, running)),
    fold: (endedBefore, onFailed) => inRound(onFailed, (round) => upkeep.fold(endedBefore, round)),
    expire: (appendedBefore, keep, onFailed) =>
      inRound(onFailed, (round) => expiry.expire(appendedBefore, keep, round)),
    async check() {
      const keys = target.kind === 'cluster' ? PROBE_KEYS : PROBE_KEYS.slice(0, 1)
      await ask(() => inTime(() => Promise.all(keys.map((key) => store.write(PROBE, [key], [PROBE_MS])))))
    },
    statistics: () => ({ retries, backfills }),
    close() {
      closing ??= close()
      return closing
    },
  }
}

const START = { epoch: '', offset: 0 }
const NO_RECORDS = { records: 0, bytes: 0 }

function toRecord(key: string, { offset, text, time }: RedisRecord): LogRecord {
  const entry = parseEntry(text)
  if (entry === undefined) throw new LogError('failed', `the record of ${key} at offset ${offset} is damaged`)
  return { offset, entry, text, time }
}
