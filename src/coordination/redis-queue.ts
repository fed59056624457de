import { createHash } from 'node:crypto'
import { type FairQueue, POSITION_INTERVAL_MS, type Waiter } from './fair-queue.ts'
import { createLocalQueue, type LocalQueue } from './local-queue.ts'
import { createRedisMisses } from './redis-misses.ts'
import { createRedisQueueStore, type RedisQueueStoreOptions } from './redis-queue-store.ts'

/** A queue that all processes share. */
export interface RedisQueue extends FairQueue {
  /** The pub/sub channel on which it is told what became of its tickets by others' doing. */
  readonly channel: string
  /** What was told there. */
  heard(message: string): void
  /**
   * Says that this process lives, and puts right what Redis has; answers whether it answered. `isSteady`: it has done so for
   * a lease, in which all who live have said what they run. Only then the dead are taken out, and Redis is asked for more.
   */
  renew(isSteady: boolean): Promise<boolean>
  /** Gives everything back. */
  close(): Promise<void>
}

/** See {@link createRedisQueue}. */
export interface RedisQueueOptions extends RedisQueueStoreOptions {
  /** How many processes there are, as far as is known. */
  readonly processes: () => number
}

/** `asking`: Redis was asked, and has not answered. `apart`: waits within this process, as Redis is away. */
interface Own {
  readonly ticket: string
  readonly key: string
  readonly waiter: Waiter
  state: 'asking' | 'waiting' | 'apart' | 'running' | 'over'
  /** Leaves the queue of this process alone. */
  leave: () => void
  toldPosition: number
  toldAt: number
}

const LANE_CHARACTERS = 16
const RUNS = 0
const REFUSED = -1
/** In what is heard: before a ticket that lost its place to another. */
const REFUSAL = '!'

/**
 * What Redis has is the truth, and each renewal puts right what is otherwise: a grant that was not heard, a release that did
 * not arrive, what a Redis lost. While it is away, this process serves those who ask and wait here by a queue of its own:
 * its part of the concurrency, and at least one. What runs then is told to Redis when it is back, be there room or not; an
 * emptied one would else give away places that are taken.
 */
export function createRedisQueue(options: RedisQueueOptions): RedisQueue {
  const { clock, owner, concurrency, limit, processes } = options
  const store = createRedisQueueStore(options)
  // What it runs by itself comes on top of what all run by Redis: one late answer is no reason for it.
  const misses = createRedisMisses(clock, goAway)
  const owns = new Map<string, Own>()
  /** Given up, and not heard that Redis took it. */
  const unsaid = new Set<string>()
  /** Its own queue, while Redis is away. */
  let apart: LocalQueue | undefined
  let running = 0
  let count = 0

  async function request(own: Own): Promise<void> {
    own.state = 'asking'
    try {
      answered(own, await misses.asked(() => store.request(own.ticket)))
    } catch {
      unanswered(own)
    }
  }

  function answered(own: Own, position: number): void {
    if (own.state === 'over') void release(own.ticket)
    if (own.state !== 'asking') return
    if (position === RUNS) grant(own)
    else if (position === REFUSED) refuse(own)
    else if (apart !== undefined) waitApart(own)
    else {
      own.state = 'waiting'
      tell(own, position)
    }
  }

  function unanswered(own: Own): void {
    if (own.state === 'over') unsaid.add(own.ticket)
    if (own.state !== 'asking') return
    if (apart !== undefined) waitApart(own)
    // The next renewal asks again, or finds that it was heard.
    else own.state = 'waiting'
  }

  async function release(...given: readonly string[]): Promise<void> {
    try {
      for (const ticket of await misses.asked(() => store.release(given))) heard(ticket)
      for (const ticket of given) unsaid.delete(ticket)
    } catch {
      for (const ticket of given) unsaid.add(ticket)
    }
  }

  function grant(own: Own): void {
    own.leave()
    own.leave = () => {}
    run(own)
  }

  function run(own: Own): void {
    own.state = 'running'
    running++
    own.waiter.granted(() => giveUp(own))
  }

  function refuse(own: Own): void {
    end(own)
    own.waiter.refused()
  }

  function end(own: Own): void {
    if (own.state === 'running') running--
    own.state = 'over'
    owns.delete(own.ticket)
  }

  function giveUp(own: Own): void {
    const { state } = own
    if (state === 'over') return
    end(own)
    own.leave()
    apart?.serve()
    // What Redis is being asked is released when it has answered.
    if (state === 'asking') return
    if (apart === undefined) void release(own.ticket)
    else unsaid.add(own.ticket)
  }

  function tell(own: Own, position: number): void {
    if (position === own.toldPosition) return
    own.toldPosition = position
    own.toldAt = clock.now()
    own.waiter.moved(position)
  }

  function goAway(): void {
    if (apart !== undefined) return
    const share = Math.max(1, Math.floor(concurrency / processes()))
    const queue = createLocalQueue({ clock, concurrency: share, limit, elsewhere: () => running - queue.running() })
    apart = queue
    for (const own of [...owns.values()]) if (own.state === 'waiting') waitApart(own)
  }

  function waitApart(own: Own): void {
    own.state = 'apart'
    let isRunning = false
    const place = apart?.request(own.key, {
      granted(leave) {
        isRunning = true
        own.leave = leave
        run(own)
      },
      moved: (position) => tell(own, position),
      refused: () => refuse(own),
    })
    if (!isRunning && place !== undefined) own.leave = place.cancel
  }

  function comeBack(): void {
    if (apart === undefined) return
    apart = undefined
    for (const own of [...owns.values()]) {
      const { leave } = own
      own.leave = () => {}
      if (own.state !== 'apart') continue
      leave()
      void request(own)
    }
  }

  function heard(message: string): void {
    const own = owns.get(message.replace(REFUSAL, ''))
    if (own === undefined || own.state === 'running') return
    if (message === own.ticket) grant(own)
    else {
      // A renewal may have found it before, and asked again: what Redis has of it then is given back.
      giveUp(own)
      own.waiter.refused()
    }
  }

  /** Compares what Redis has with what this process had when it asked. */
  async function compare(isSteady: boolean): Promise<void> {
    const all = [...owns.values()]
    const ran = all.filter(({ state }) => state === 'running')
    const waited = all.filter(({ state }) => state === 'waiting' || state === 'apart')
    const found = await misses.asked(() => store.renew(waited.map(ticketOf), isSteady))
    const known = new Set(found.running)
    const lost = ran.filter((own) => own.state === 'running' && !known.has(own.ticket))
    if (lost.length > 0) await misses.asked(() => store.claim(lost.map(ticketOf)))
    for (const ticket of known) heard(ticket)
    const over = new Set([...unsaid, ...found.running.filter((ticket) => !owns.has(ticket))])
    if (over.size > 0) void release(...over)
    for (const [at, own] of waited.entries()) {
      if (own.state !== 'waiting') continue
      const position = found.positions[at] ?? 0
      if (position === 0) void request(own)
      else if (clock.now() - own.toldAt >= POSITION_INTERVAL_MS) tell(own, position)
    }
  }

  return {
    channel: store.channel,
    request(key, waiter) {
      const lane = createHash('sha1').update(key).digest('base64url').slice(0, LANE_CHARACTERS)
      const ticket = `${owner}:${++count}:${lane}`
      const own: Own = { ticket, key, waiter, state: 'asking', leave() {}, toldPosition: 0, toldAt: 0 }
      owns.set(ticket, own)
      if (apart === undefined) void request(own)
      else waitApart(own)
      return { cancel: () => giveUp(own) }
    },
    running: () => running,
    waiting: () => owns.size - running,
    heard,
    async renew(isSteady) {
      if (owns.size === 0 && unsaid.size === 0 && apart === undefined) {
        misses.forget()
        return true
      }
      try {
        await compare(isSteady)
        if (isSteady) comeBack()
        return true
      } catch {
        return false
      }
    },
    async close() {
      // What Redis does not take now ends by itself.
      await store.leave().catch(() => {})
    },
  }
}

function ticketOf({ ticket }: { readonly ticket: string }): string {
  return ticket
}
