import type { RedisClient } from './redis-clients.ts'
import { serverOf } from './redis-clients.ts'
import type { RedisClock } from './redis-deadline.ts'
import { PROBE_KEYS } from './redis-keys.ts'

/** How often each server of a Redis is asked for a sign of life, in ms. */
const TICK_MS = 100
/** A server that has answered nothing between so many ticks is away: members are told of it within a second. */
const SILENT_TICKS = 7

interface Server {
  silentTicks: number
  isAsked: boolean
}

/**
 * Finds out within a second, on a client that fails at once where there is no connection, that a server of a Redis (or one
 * master of a Cluster) answers nothing any more: `onAway` gets its name, see {@link serverOf}, once until it has answered
 * again. Silence is counted in ticks, so that a process that was frozen itself does not take its own silence for Redis's.
 * Answers the function that ends it.
 */
export function watchReach(client: RedisClient, clock: RedisClock, onAway: (server: string) => void): () => void {
  let servers = new Map<string, Server>()
  let timer = clock.setTimeout(tick, TICK_MS)

  function ask(server: Server, key: string): void {
    if (server.isAsked) return
    server.isAsked = true
    client.hget(`${key}:none`, 'none').then(
      () => {
        server.isAsked = false
        server.silentTicks = 0
      },
      // That it failed says less than that it does not answer: it may be a connection that is being made anew.
      () => {
        server.isAsked = false
      },
    )
  }

  function tick(): void {
    timer = clock.setTimeout(tick, TICK_MS)
    const known = servers
    servers = new Map()
    for (const key of PROBE_KEYS) {
      const name = serverOf(client, key)
      if (servers.has(name)) continue
      const server = known.get(name) ?? { silentTicks: 0, isAsked: false }
      servers.set(name, server)
      server.silentTicks += 1
      ask(server, key)
      if (server.silentTicks === SILENT_TICKS) onAway(name)
    }
  }

  return () => clock.clearTimeout(timer)
}
