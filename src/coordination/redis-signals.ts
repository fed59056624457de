import { Cluster } from 'ioredis'
import { pubSubName, type RedisClient } from '../log/redis-clients.ts'
import type { Subscriptions } from '../log/redis-subscriptions.ts'
import type { Coordination } from './coordination.ts'

/** Signals by pub/sub, and within the process without it. */
export interface RedisSignals {
  readonly listen: Coordination['listen']
  /** A message came on a pub/sub channel, be it of a signal or not. */
  heard(name: string, message: string): void
}

/** See {@link createRedisSignals}. */
export interface RedisSignalsOptions {
  readonly client: RedisClient
  readonly subscriptions: Subscriptions
  readonly owner: string
}

const NAME = /^sw:\{(.+)\}:signals$/

/** What is sent is `<owner> <text>`: a process has heard its own already. */
export function createRedisSignals({ client, subscriptions, owner }: RedisSignalsOptions): RedisSignals {
  const ears = new Map<string, Set<(text: string) => void>>()
  const own = `${owner} `

  return {
    listen(channel, onSignal) {
      const name = `sw:{${channel}}:signals`
      const all = ears.get(channel) ?? new Set()
      if (all.size === 0) subscriptions.subscribe(name)
      // One of its own, so that the same function may listen twice.
      const ear = (text: string) => onSignal(text)
      ears.set(channel, all.add(ear))
      return {
        send(text) {
          for (const other of [...all]) if (other !== ear) other(text)
          const message = own + text
          const to = pubSubName(client, name)
          const sent = client instanceof Cluster ? client.spublish(to, message) : client.publish(to, message)
          // Signals may be lost. SPEC.md G9.
          sent.catch(() => {})
        },
        end() {
          if (!all.delete(ear) || all.size > 0) return
          ears.delete(channel)
          subscriptions.unsubscribe(name)
        },
      }
    },
    heard(name, message) {
      const channel = NAME.exec(name)?.[1]
      if (channel === undefined || message.startsWith(own)) return
      const text = message.slice(message.indexOf(' ') + 1)
      for (const onSignal of [...(ears.get(channel) ?? [])]) onSignal(text)
    },
  }
}
