import { Cluster } from 'ioredis'
import { pubSubName, type RedisClient } from './redis-clients.ts'

/** The pub/sub channels that a client listens to, within its database. It loses messages silently. */
export interface Subscriptions {
  subscribe(name: string): void
  unsubscribe(name: string): void
  /** To be called every second: subscribes what could not be, and finds a connection that hangs. */
  tend(): void
}

/** See {@link createSubscriptions}. */
export interface SubscriptionsOptions {
  readonly client: RedisClient
  onMessage(name: string, message: string): void
  /** These are listened to from now on; what came before may have been missed. */
  onSubscribed(names: readonly string[]): void
}

/** How many channels go into one command. */
const BATCH = 500

/** `client` is used for nothing else, and does not subscribe anew by itself. On a Cluster, pub/sub is sharded. */
export function createSubscriptions({ client, onMessage, onSubscribed }: SubscriptionsOptions): Subscriptions {
  const isSharded = client instanceof Cluster
  const wanted = new Set<string>()
  /** Wanted, and not asked for yet. */
  const pending = new Set<string>()
  let isScheduled = false

  const prefix = pubSubName(client, 'sw:')
  const isFirst = prefix === 'sw:'
  client.on(isSharded ? 'smessage' : 'message', (channel: string, message: string) =>
    onMessage(isFirst ? channel : `sw:${channel.slice(prefix.length)}`, message),
  )
  // A Cluster's client subscribes anew by itself, connection by connection, when the slots have moved.
  client.on('ready', () => {
    if (!isSharded) for (const name of wanted) pending.add(name)
    else onSubscribed([...wanted])
    flush()
  })

  function flush(): void {
    isScheduled = false
    if (client.status !== 'ready' || pending.size === 0) return
    const names = [...pending]
    pending.clear()
    const batch = isSharded ? 1 : BATCH
    for (let at = 0; at < names.length; at += batch) ask(names.slice(at, at + batch))
  }

  function ask(names: readonly string[]): void {
    const channels = names.map((name) => pubSubName(client, name))
    const asked = isSharded ? client.ssubscribe(...channels) : client.subscribe(...channels)
    asked.then(
      () => onSubscribed(names.filter((name) => wanted.has(name))),
      () => {
        for (const name of names) if (wanted.has(name)) pending.add(name)
      },
    )
  }

  function schedule(): void {
    if (isScheduled) return
    isScheduled = true
    queueMicrotask(flush)
  }

  return {
    subscribe(name) {
      wanted.add(name)
      pending.add(name)
      schedule()
    },
    unsubscribe(name) {
      wanted.delete(name)
      if (pending.delete(name) || client.status !== 'ready') return
      const channel = pubSubName(client, name)
      const asked = isSharded ? client.sunsubscribe(channel) : client.unsubscribe(channel)
      // A connection that breaks is subscribed to nothing.
      asked.catch(() => {})
    },
    tend() {
      flush()
      // Its answer is of no use: a connection on which nothing comes back is given up by the client.
      if (!isSharded && client.status === 'ready') client.ping().catch(() => {})
    },
  }
}
