import { z } from 'zod'
import type { RedisClock } from '../log/redis-deadline.ts'
import { keysOf } from '../log/redis-keys.ts'
import type { Lease } from './coordination.ts'
import type { RedisAsk } from './redis-ask.ts'
import { HELD, LEASE, RELEASE, RENEW } from './redis-coordination-scripts.ts'

/** The leases of this process. */
export interface RedisLeases {
  lease(name: string, onLost: () => void): Promise<Lease | undefined>
  isHeld(name: string): Promise<boolean>
  /** Renews all; answers whether Redis answered all. */
  renew(): Promise<boolean>
  /** Releases all. */
  close(): Promise<void>
}

/** See {@link createRedisLeases}. `owner` names this process among all that ever were. */
export interface RedisLeasesOptions {
  readonly ask: RedisAsk
  readonly clock: RedisClock
  readonly owner: string
  readonly leaseMs: number
}

interface Held {
  readonly name: string
  readonly nonce: string
  readonly onLost: () => void
  /** Until when nobody else can have it, by this process's clock. */
  deadline: number
  timer: object | undefined
}

/** For how many names it is remembered that this process was the last to hold them. */
const MAX_REMEMBERED = 10_000
/** A channel's fence outlives by far what an old holder could still send. */
const FENCE_KEPT_MS = 24 * 3_600_000

const reply = z.union([z.tuple([]), z.tuple([z.string(), z.string()])])

/** A lease's name ends in the channel whose log it fences: `turn:<channel key>`. */
export function createRedisLeases({ ask, clock, owner, leaseMs }: RedisLeasesOptions): RedisLeases {
  const held = new Set<Held>()
  /** The tokens of the leases that were this process's last. */
  const lastTokens = new Map<string, string>()
  /** The nonces of leases whose release is on its way: who takes the lease again does not wait for that. */
  const releasing = new Map<string, string>()
  let count = 0

  const leaseKey = (name: string) => `sw:{${channelOf(name)}}:lease`

  function remember(name: string, token: string): void {
    lastTokens.delete(name)
    lastTokens.set(name, token)
    const [oldest] = lastTokens.keys()
    if (lastTokens.size > MAX_REMEMBERED && oldest !== undefined) lastTokens.delete(oldest)
  }

  async function release(name: string, nonce: string): Promise<void> {
    releasing.set(name, nonce)
    try {
      await ask.again(RELEASE, [leaseKey(name)], [nonce])
    } catch {
      // It ends by itself, a lease later.
    } finally {
      if (releasing.get(name) === nonce) releasing.delete(name)
    }
  }

  /** Forgets it; answers whether it was still held. */
  function end(one: Held): boolean {
    if (one.timer !== undefined) clock.clearTimeout(one.timer)
    return held.delete(one)
  }

  function lose(one: Held): void {
    if (!end(one)) return
    void release(one.name, one.nonce)
    one.onLost()
  }

  /** A process that was frozen wakes up here, before it can have renewed anything. */
  function watch(one: Held): void {
    one.timer = clock.setTimeout(
      () => {
        if (clock.now() >= one.deadline) lose(one)
        else watch(one)
      },
      Math.max(0, one.deadline - clock.now()),
    )
  }

  async function renew(one: Held): Promise<boolean> {
    const begin = clock.now()
    if (begin >= one.deadline) {
      lose(one)
      return true
    }
    try {
      const isHeld = await ask.once(RENEW, [leaseKey(one.name)], [one.nonce, leaseMs])
      if (isHeld === 1) one.deadline = begin + leaseMs
      else lose(one)
      return true
    } catch {
      // The deadline stands: until then it may be renewed again.
      return false
    }
  }

  return {
    async lease(name, onLost) {
      count += 1
      const nonce = `${owner}-${count}`
      const begin = clock.now()
      let answer: z.infer<typeof reply>
      try {
        const keys = [leaseKey(name), keysOf(channelOf(name)).meta]
        answer = reply.parse(await ask.again(LEASE, keys, [nonce, leaseMs, FENCE_KEPT_MS, releasing.get(name) ?? '']))
      } catch (error) {
        // It may have been taken, and the answer lost.
        void release(name, nonce)
        throw error
      }
      const [token, fenceBefore] = answer
      if (token === undefined) return undefined
      const mayBeBehind = fenceBefore === '' || fenceBefore !== lastTokens.get(name)
      remember(name, token)
      const one: Held = { name, nonce, onLost, deadline: begin + leaseMs, timer: undefined }
      held.add(one)
      watch(one)
      return {
        token: Number(token),
        mayBeBehind,
        release() {
          if (end(one)) void release(name, nonce)
        },
      }
    },
    isHeld: async (name) => (await ask.again(HELD, [leaseKey(name)], [])) === 1,
    async renew() {
      const answered = await Promise.all([...held].map(renew))
      return answered.every((isAnswered) => isAnswered)
    },
    async close() {
      const all = [...held]
      for (const one of all) end(one)
      await Promise.all(all.map(({ name, nonce }) => release(name, nonce)))
    },
  }
}

function channelOf(name: string): string {
  return name.slice(name.indexOf(':') + 1)
}
