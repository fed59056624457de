import type { Clock } from '../actor/clock.ts'
import type { Coordination } from './coordination.ts'
import type { FairQueue } from './fair-queue.ts'
import { createLocalQueue } from './local-queue.ts'
import { createLocalRate } from './local-rate.ts'
import type { SharedRate } from './shared-rate.ts'

/** Coordination within one process: plain maps. `now` is wall time in ms, so that tokens rise over restarts, too. */
export function createLocalCoordination(clock: Clock, now: () => number = Date.now): Coordination {
  const leases = new Set<string>()
  const rooms = new Map<string, Set<string>>()
  const counters = new Map<string, number>()
  const listeners = new Map<string, Set<(text: string) => void>>()
  const queues = new Map<string, FairQueue>()
  const rates = new Map<string, SharedRate>()
  let lastToken = 0

  return {
    async lease(name) {
      if (leases.has(name)) return undefined
      leases.add(name)
      lastToken = Math.max(lastToken + 1, now())
      let isHeld = true
      return {
        token: lastToken,
        mayBeBehind: false,
        release() {
          if (isHeld) leases.delete(name)
          isHeld = false
        },
      }
    },
    async isHeld(name) {
      return leases.has(name)
    },
    listen(channel, onSignal) {
      const all = listeners.get(channel) ?? new Set()
      listeners.set(channel, all.add(onSignal))
      return {
        send(text) {
          for (const listener of all) if (listener !== onSignal) listener(text)
        },
        end() {
          all.delete(onSignal)
          if (all.size === 0 && listeners.get(channel) === all) listeners.delete(channel)
        },
      }
    },
    async enter(room, member) {
      const members = rooms.get(room) ?? new Set()
      rooms.set(room, members.add(member))
      return [...members]
    },
    async leave(room, member) {
      const members = rooms.get(room)
      members?.delete(member)
      if (members?.size === 0) rooms.delete(room)
      return true
    },
    async members(room) {
      return [...(rooms.get(room) ?? [])]
    },
    // Here, nobody goes without saying so.
    onPresence() {},
    onRefilled() {},
    async take(counter, limit) {
      const taken = counters.get(counter) ?? 0
      if (taken >= limit) return false
      counters.set(counter, taken + 1)
      return true
    },
    async giveBack(counter) {
      const left = (counters.get(counter) ?? 1) - 1
      if (left > 0) counters.set(counter, left)
      else counters.delete(counter)
    },
    queue(name, limits) {
      const queue = queues.get(name) ?? createLocalQueue({ clock, ...limits })
      queues.set(name, queue)
      return queue
    },
    rate(name, options) {
      const rate = rates.get(name) ?? createLocalRate(clock, options)
      rates.set(name, rate)
      return rate
    },
    async close() {},
  }
}
