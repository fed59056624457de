import type { RedisClient } from './redis-clients.ts'
import { channelOfWake, keysOf } from './redis-keys.ts'
import { createSubscriptions, type Subscriptions } from './redis-subscriptions.ts'

/** The pub/sub side, by channel key: which channels' wake-ups are listened to. Nothing here is the truth. */
export type WakeUps = Subscriptions

/** See {@link createWakeUps}. */
export interface WakeUpsOptions {
  readonly client: RedisClient
  onWakeUp(key: string, epoch: string, offset: number, time: number, text: string): void
  /** These channels are listened to from now on; what came before may have been missed. */
  onSubscribed(keys: readonly string[]): void
}

const MESSAGE = /^(\S+) (\d+) (\d+) /

/** `client` is used for nothing else, and does not subscribe anew by itself. */
export function createWakeUps({ client, onWakeUp, onSubscribed }: WakeUpsOptions): WakeUps {
  const subscriptions = createSubscriptions({
    client,
    onMessage(name, message) {
      const key = channelOfWake(name)
      const [header, epoch, offset, time] = MESSAGE.exec(message) ?? []
      if (key === undefined || header === undefined || epoch === undefined) return
      onWakeUp(key, epoch, Number(offset), Number(time), message.slice(header.length))
    },
    onSubscribed: (names) => onSubscribed(names.flatMap((name) => channelOfWake(name) ?? [])),
  })
  return {
    subscribe: (key) => subscriptions.subscribe(keysOf(key).wake),
    unsubscribe: (key) => subscriptions.unsubscribe(keysOf(key).wake),
    tend: subscriptions.tend,
  }
}
