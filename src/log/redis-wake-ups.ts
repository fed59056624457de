import { Cluster } from 'ioredis'
import type { RedisClient } from './redis-clients.ts'
import { channelOfWake, keysOf } from './redis-keys.ts'

/** The pub/sub side: which channels' wake-ups are listened to. It loses messages silently; nothing here is the truth. */
export interface WakeUps {
  subscribe(key: string): void
  unsubscribe(key: string): void
  /** To be called every second: subscribes what could not be, and finds a connection that hangs. */
  tend(): void
}

/** See {@link createWakeUps}. */
export interface WakeUpsOptions {
  readonly client: RedisClient
  onWakeUp(key: string, epoch: string, offset: number, time: number, text: string): void
  /** These channels are listened to from now on; what came before may have been missed. */
  onSubscribed(keys: readonly string[]): void
}

/** How many channels go into one command. */
const BATCH = 500
const MESSAGE = /^(\S+) (\d+) (\d+) /

/** `client` is used for nothing else, and does not subscribe anew by itself. */
export function createWakeUps({ client, onWakeUp, onSubscribed }: WakeUpsOptions): WakeUps {
  const isSharded = client instanceof Cluster
  const wanted = new Set<string>()
  /** Wanted, and not asked for yet. */
  const pending = new Set<string>()
  let isScheduled = false

  client.on(isSharded ? 'smessage' : 'message', (name: string, message: string) => {
    const key = channelOfWake(name)
    const [header, epoch, offset, time] = MESSAGE.exec(message) ?? []
    if (key === undefined || header === undefined || epoch === undefined) return
    onWakeUp(key, epoch, Number(offset), Number(time), message.slice(header.length))
  })
  // A Cluster's client subscribes anew by itself, connection by connection, when the slots have moved.
  client.on('ready', () => {
    if (!isSharded) for (const key of wanted) pending.add(key)
    else onSubscribed([...wanted])
    flush()
  })

  function flush(): void {
    isScheduled = false
    if (client.status !== 'ready' || pending.size === 0) return
    const keys = [...pending]
    pending.clear()
    const batch = isSharded ? 1 : BATCH
    for (let at = 0; at < keys.length; at += batch) ask(keys.slice(at, at + batch))
  }

  function ask(keys: readonly string[]): void {
    const names = keys.map((key) => keysOf(key).wake)
    const asked = isSharded ? client.ssubscribe(...names) : client.subscribe(...names)
    asked.then(
      () => onSubscribed(keys.filter((key) => wanted.has(key))),
      () => {
        for (const key of keys) if (wanted.has(key)) pending.add(key)
      },
    )
  }

  function schedule(): void {
    if (isScheduled) return
    isScheduled = true
    queueMicrotask(flush)
  }

  return {
    subscribe(key) {
      wanted.add(key)
      pending.add(key)
      schedule()
    },
    unsubscribe(key) {
      wanted.delete(key)
      if (pending.delete(key) || client.status !== 'ready') return
      const { wake } = keysOf(key)
      const asked = isSharded ? client.sunsubscribe(wake) : client.unsubscribe(wake)
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
