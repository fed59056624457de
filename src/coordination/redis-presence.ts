import { z } from 'zod'
import type { RedisClock } from '../log/redis-deadline.ts'
import type { PresenceListener, RefillListener } from './coordination.ts'
import type { RedisAsk } from './redis-ask.ts'
import { ABANDON, ROOM } from './redis-coordination-scripts.ts'

/** Who is in which room: this process's members, renewed by it, and what it is told of the others'. */
export interface RedisPresence {
  enter(room: string, member: string): Promise<readonly string[]>
  leave(room: string, member: string): Promise<boolean>
  members(room: string): Promise<readonly string[]>
  /** Renews this process's members, and takes the expired out of its rooms if `sweeps`. Answers whether Redis answered all. */
  renew(sweeps: boolean): Promise<boolean>
  /** Lets this process's members expire at once: the other processes tell that they left. */
  close(): Promise<void>
}

/** See {@link createRedisPresence}. */
export interface RedisPresenceOptions {
  readonly ask: RedisAsk
  readonly clock: RedisClock
  readonly memberMs: number
  /** How old a command may be that takes the expired out; its answer would be heard. */
  readonly patienceMs: number
  readonly onPresence: PresenceListener
  readonly onRefilled: RefillListener
}

/** `unheard`: Redis did not answer when it entered, and nobody was told. */
type Stay = 'entering' | 'unheard' | 'here'

/** How long a room's keys outlive its last process, in lives of a member. */
const KEPT_PART = 10
/** How long it is remembered that a member was taken out while its process was frozen. */
const GONE_MS = 3_600_000
/** After which part of a member's life all processes have renewed a room that Redis had lost. */
const REFILL_PART = 1 / 2
/** In place of the time of a refill: it is to be told yet. */
const DUE = 'due'

const reply = z.tuple([z.array(z.string()), z.array(z.string()), z.array(z.string()), z.number(), z.string()])

/** A member that is not renewed for `memberMs` has left. */
export function createRedisPresence({
  ask,
  clock,
  memberMs,
  patienceMs,
  onPresence,
  onRefilled,
}: RedisPresenceOptions): RedisPresence {
  const rooms = new Map<string, Map<string, Stay>>()
  /** Those whose leaving Redis has not been heard to take. */
  const leaving = new Map<string, Set<string>>()
  /** When each room was last refilled, by Redis's clock, as far as it has been told here; or `DUE`. */
  const refills = new Map<string, string>()
  /** How far Redis's clock is ahead of this one; rather less than more. */
  let ahead: number | undefined

  interface Change {
    readonly here?: readonly string[]
    readonly left?: readonly string[]
    readonly sweeps?: boolean
    readonly lists?: boolean
    readonly renews?: boolean
    readonly isRepeatable?: boolean
  }

  async function change(room: string, { here = [], left = [], sweeps, lists, renews, isRepeatable }: Change) {
    const keys = ['members', 'arrivals', 'gone', 'refilled'].map((name) => `sw:{${room}}:${name}`)
    const sweepsUntil = sweeps && ahead !== undefined ? Math.floor(clock.now() + ahead + patienceMs) : 0
    const flags = [sweepsUntil, lists ? 1 : 0, renews ? 1 : 0]
    const args = [memberMs, memberMs * KEPT_PART, GONE_MS, ...flags, here.length, ...here, ...left]
    const answer = await (isRepeatable ? ask.again(ROOM, keys, args) : ask.once(ROOM, keys, args))
    const [gone, back, members, time, refilled] = reply.parse(answer)
    ahead = time - clock.now()
    return { gone, back, members, time, refilled }
  }

  function forget(map: Map<string, Map<string, Stay> | Set<string>>, room: string, member: string): void {
    const members = map.get(room)
    members?.delete(member)
    if (members?.size === 0) map.delete(room)
  }

  /** A Redis that is full did not take this process's own, and one that was emptied has them no more. */
  const withOwn = (room: string, members: readonly string[]) => [
    ...new Set([...members, ...(rooms.get(room)?.keys() ?? [])]),
  ]

  /** Tells who is there once a refill is over: a list that is told before would lack the members of other processes. */
  function lookAtRefill(room: string, { refilled, time, members }: Awaited<ReturnType<typeof change>>): void {
    const before = refills.get(room)
    if (before !== DUE) {
      if (refilled !== '' && refilled !== before) refills.set(room, DUE)
      return
    }
    if (time - Number(refilled) < memberMs * REFILL_PART) return
    refills.set(room, refilled)
    onRefilled(room, withOwn(room, members))
  }

  async function renewRoom(room: string, sweeps: boolean): Promise<boolean> {
    const stays = new Map(rooms.get(room))
    const goers = [...(leaving.get(room) ?? [])]
    const lists = refills.get(room) === DUE
    const asked = change(room, { here: [...stays.keys()], left: goers, sweeps, lists, renews: true })
    const answer = await asked.catch(() => undefined)
    // The next renewal may be heard.
    if (answer === undefined) return false
    for (const member of goers) forget(leaving, room, member)
    for (const member of answer.gone) onPresence(room, member, 'left')
    const unheard = [...stays.keys()].filter((member) => stays.get(member) === 'unheard')
    for (const member of new Set([...answer.back, ...unheard])) {
      if (!rooms.get(room)?.has(member)) continue
      rooms.get(room)?.set(member, 'here')
      onPresence(room, member, 'joined')
    }
    lookAtRefill(room, answer)
    return true
  }

  return {
    async enter(room, member) {
      const stays = rooms.get(room) ?? new Map<string, Stay>()
      rooms.set(room, stays.set(member, 'entering'))
      const set = (stay: Stay) => {
        if (rooms.get(room)?.has(member)) rooms.get(room)?.set(member, stay)
      }
      try {
        // Once: a repetition could come after its leaving. The next renewal does as well.
        const { members } = await change(room, { here: [member], lists: true })
        set('here')
        return members
      } catch (error) {
        set('unheard')
        throw error
      }
    },
    async leave(room, member) {
      const wasUnheard = rooms.get(room)?.get(member) === 'unheard'
      forget(rooms, room, member)
      try {
        const { gone } = await change(room, { left: [member], isRepeatable: true })
        return gone.includes(member) && !wasUnheard
      } catch (error) {
        if (!wasUnheard) leaving.set(room, (leaving.get(room) ?? new Set()).add(member))
        throw error
      }
    },
    async members(room) {
      const { members } = await change(room, { lists: true, isRepeatable: true })
      return withOwn(room, members)
    },
    async renew(sweeps) {
      const all = new Set([...rooms.keys(), ...leaving.keys()])
      for (const room of refills.keys()) if (!all.has(room)) refills.delete(room)
      const answered = await Promise.all([...all].map((room) => renewRoom(room, sweeps)))
      return answered.every((isAnswered) => isAnswered)
    },
    async close() {
      const abandoned = [...rooms, ...leaving].map(([room, members]) =>
        ask.once(ABANDON, [`sw:{${room}}:members`], [...members.keys()]),
      )
      rooms.clear()
      leaving.clear()
      // What Redis does not take now expires by itself.
      await Promise.allSettled(abandoned)
    },
  }
}
