import { z } from 'zod'
import { type RedisClient, serverOf } from './redis-clients.ts'
import { type RedisClock, realClock } from './redis-deadline.ts'
import { PROBE_KEYS } from './redis-keys.ts'
import { runScript, script } from './redis-script.ts'

/** What is known of the servers of a Redis by asking each of them for its time, again and again. */
export interface Reach {
  /**
   * The time of the server of a key, in its own ms since 1970, that will have come a little before so many ms are over; 0
   * where its clock is not known. For what must not be done later than that, wherever it was held up on its way.
   */
  notAfter(key: string, withinMs: number): number
  end(): void
}

/** How often each server is asked, in ms. */
const TICK_MS = 100
/** A server that has answered nothing between so many ticks is away: members are told of it within a second. */
const SILENT_TICKS = 7
/** A timer may fire a little before its time, and what it then calls failed must not be done after that. */
const EARLY_MS = 20
/** Over how many answers its clock is compared with ours: the one that was on its way for the shortest time tells most. */
const SAMPLES = 16

interface Server {
  silentTicks: number
  isAsked: boolean
  /** How far its clock was ahead of ours, rather less than more, by each of its last answers. */
  readonly samples: number[]
  /** The best of them; undefined before the first. */
  ahead: number | undefined
}

const TIME = script(`
local time = redis.call('TIME')
return {tonumber(time[1]), tonumber(time[2])}
`)
const timeReply = z.tuple([z.number(), z.number()])

/**
 * Asks on a client that fails at once where there is no connection. `onAway` gets the name of a server (see
 * {@link serverOf}) that answers nothing any more: within a second, once until it has answered again. Silence is counted in
 * ticks of `clock`, so that a process that was frozen itself does not take its own silence for Redis's.
 */
export function watchReach(client: RedisClient, clock: RedisClock, onAway: (server: string) => void): Reach {
  let servers = new Map<string, Server>()
  let timer: object

  async function ask(server: Server, key: string): Promise<void> {
    if (server.isAsked) return
    server.isAsked = true
    try {
      const [seconds, micros] = timeReply.parse(await runScript(client, TIME, [key], []))
      server.silentTicks = 0
      server.samples.push(seconds * 1_000 + micros / 1_000 - realClock.now())
      if (server.samples.length > SAMPLES) server.samples.shift()
      // Here, and not where it is asked for, which is at each append.
      server.ahead = Math.max(...server.samples)
    } catch {
      // It says less than silence does: it may be a connection that is being made anew.
    } finally {
      server.isAsked = false
    }
  }

  function tick(): void {
    timer = clock.setTimeout(tick, TICK_MS)
    const known = servers
    servers = new Map()
    for (const key of PROBE_KEYS) {
      const name = serverOf(client, key)
      if (servers.has(name)) continue
      const server = known.get(name) ?? { silentTicks: 0, isAsked: false, samples: [], ahead: undefined }
      servers.set(name, server)
      server.silentTicks += 1
      void ask(server, key)
      if (server.silentTicks === SILENT_TICKS) onAway(name)
    }
  }

  tick()
  return {
    notAfter(key, withinMs) {
      const ahead = servers.get(serverOf(client, key))?.ahead
      return ahead === undefined ? 0 : Math.floor(realClock.now() + Math.max(0, withinMs) - EARLY_MS + ahead)
    },
    end: () => clock.clearTimeout(timer),
  }
}
