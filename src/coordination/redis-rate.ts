import { z } from 'zod'
import type { RedisClock } from '../log/redis-deadline.ts'
import { script } from '../log/redis-script.ts'
import type { RedisAsk } from './redis-ask.ts'
import { SHARDS, shardOf } from './redis-shards.ts'
import { type RateOptions, type SharedRate, tokenMs, waitOf } from './shared-rate.ts'

/** A rate that all processes keep. */
export interface RedisRate extends SharedRate {
  /** Redis was found to answer, or not to. */
  redisIs(state: 'there' | 'away'): void
  /** Tells nothing more. */
  close(): void
}

/** See {@link createRedisRate}. */
export interface RedisRateOptions extends RateOptions {
  readonly ask: RedisAsk
  readonly clock: RedisClock
  readonly name: string
  /** How many processes there are, as far as is known. */
  readonly processes: () => number
}

interface Bucket {
  /** By the clock. */
  fullAt: number
  /** Taken here, and not told. */
  taken: number
  /** When the first of these was. */
  takenAt: number
}

/** How long after a token was taken the other processes may know, in ms. */
const TELL_INTERVAL_MS = 200
/** A process's own part of a rate is no less than a token in this time, in ms. */
const MAX_TOKEN_MS = 1_000

/**
 * Takes tokens of many buckets. A bucket is the time at which it will be full, by the server's clock, and is gone by then. It
 * may have less than nothing: what several processes took at once is waited for afterwards.
 *
 * KEYS: buckets. ARGV: ms of a token, then for each bucket how many were taken, and how many ms ago the first one. Answers
 * for each in how many ms it is full.
 */
const TAKE_TOKENS = script(`
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local rests = {}
for i, bucket in ipairs(KEYS) do
  local taken, age = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local fullAt = math.max(tonumber(redis.call('GET', bucket) or 0), now - age) + taken * tonumber(ARGV[1])
  local rest = math.max(0, math.ceil(fullAt - now))
  if rest > 0 then redis.call('SET', bucket, string.format('%.3f', fullAt), 'PX', rest) end
  rests[i] = rest
end
return rests
`)

const reply = z.array(z.number())

/**
 * Each process has a bucket of its own for each key; what it took goes into the one in Redis {@link TELL_INTERVAL_MS} later,
 * and what is in that replaces its own. While Redis is away, a process has its part of the rate.
 */
export function createRedisRate(options: RedisRateOptions): RedisRate {
  const { ask, clock, name, processes } = options
  const buckets = new Map<string, Bucket>()
  let isAway = false
  let timer: object | undefined
  let isClosed = false

  /** The rate that holds for this process now. */
  function current(): RateOptions {
    if (!isAway) return options
    const perSecond = Math.max(options.perSecond / processes(), 1_000 / MAX_TOKEN_MS)
    return { perSecond, burst: Math.max(1, options.burst / processes()) }
  }

  async function tellShard(shard: number, keys: readonly string[]): Promise<void> {
    const now = clock.now()
    const args: number[] = [tokenMs(options)]
    for (const key of keys) {
      const bucket = buckets.get(key)
      args.push(bucket?.taken ?? 0, Math.ceil(now - (bucket?.takenAt ?? now)))
      // Should this fail, it is not told a second time: it may have arrived.
      if (bucket !== undefined) bucket.taken = 0
    }
    const names = keys.map((key) => `sw:{rates-${shard}}:${name}:${key}`)
    const rests = reply.parse(await ask.once(TAKE_TOKENS, names, args))
    for (const [at, key] of keys.entries()) {
      const bucket = buckets.get(key)
      if (bucket !== undefined) bucket.fullAt = clock.now() + (rests[at] ?? 0) + bucket.taken * tokenMs(options)
    }
  }

  async function tell(): Promise<void> {
    const now = clock.now()
    const shards = Array.from({ length: SHARDS }, (): string[] => [])
    for (const [key, bucket] of buckets) {
      if (bucket.taken > 0) shards[shardOf(key)]?.push(key)
      else if (bucket.fullAt <= now) buckets.delete(key)
    }
    try {
      await Promise.all(shards.map((keys, shard) => (keys.length > 0 ? tellShard(shard, keys) : undefined)))
    } catch {
      isAway = true
    }
  }

  function tellLater(): void {
    if (timer !== undefined || isClosed) return
    timer = clock.setTimeout(() => {
      void tell().finally(() => {
        timer = undefined
        if (buckets.size > 0) tellLater()
      })
    }, TELL_INTERVAL_MS)
  }

  return {
    waitMs: (key) => waitOf((buckets.get(key)?.fullAt ?? 0) - clock.now(), current()),
    take(key) {
      const now = clock.now()
      const bucket = buckets.get(key) ?? { fullAt: now, taken: 0, takenAt: now }
      buckets.set(key, bucket)
      bucket.fullAt = Math.max(now, bucket.fullAt) + tokenMs(current())
      // What is taken of its own part is nobody else's business.
      if (!isAway) {
        if (bucket.taken === 0) bucket.takenAt = now
        bucket.taken++
      }
      tellLater()
    },
    redisIs(state) {
      isAway = state === 'away'
    },
    close() {
      isClosed = true
      if (timer !== undefined) clock.clearTimeout(timer)
    },
  }
}
