import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { RedisProcess } from './redis.ts'

/** A TCP proxy in front of a redis-server, which loses what the test wants lost. */
export interface RedisProxy {
  readonly url: string
  /** How many packets of Redis were swallowed so far. */
  readonly swallowed: number
  /** Of the connections that are open now, nothing that Redis answers arrives any more; they stay open. */
  swallowReplies(): void
  /**
   * Holds back all that Redis answers from the moment on at which something is sent to it that contains a text; resolves then.
   * What is held arrives with `release`.
   */
  holdFrom(text: string): Promise<void>
  release(): void
  /** Resets the connections that have subscribed to something; answers how many. */
  cutSubscribers(): number
  /** Of the connections that have subscribed, nothing arrives any more; they stay open. */
  swallowWakeUps(): void
  close(): void
}

interface Pair {
  readonly client: Socket
  readonly server: Socket
  isSubscriber: boolean
  isSwallowed: boolean
}

/** Starts one on a free port. */
export async function startRedisProxy(redis: RedisProcess): Promise<RedisProxy> {
  const pairs = new Set<Pair>()
  let trap: { readonly text: string; readonly sprung: () => void } | undefined
  let held: (() => void)[] | undefined
  let swallowed = 0
  const listener = createServer((client) => {
    const server = connect(redis.port, '127.0.0.1')
    const pair: Pair = { client, server, isSubscriber: false, isSwallowed: false }
    pairs.add(pair)
    const end = () => {
      pairs.delete(pair)
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) {
      socket.setNoDelay(true)
      // A connection that breaks is what this is for; `close` follows.
      socket.on('error', () => {})
      socket.on('close', end)
    }
    client.on('data', (data) => {
      if (/subscribe\r\n/i.test(data.toString('latin1'))) pair.isSubscriber = true
      if (trap !== undefined && data.includes(trap.text)) {
        held = []
        trap.sprung()
        trap = undefined
      }
      server.write(data)
    })
    server.on('data', (data) => {
      if (pair.isSwallowed) swallowed++
      else if (held === undefined) client.write(data)
      else held.push(() => client.write(data))
    })
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')

  return {
    url: `redis://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    get swallowed() {
      return swallowed
    },
    swallowReplies() {
      for (const pair of pairs) pair.isSwallowed = true
    },
    holdFrom(text) {
      return new Promise((sprung) => {
        trap = { text, sprung }
      })
    },
    release() {
      for (const write of held ?? []) write()
      held = undefined
    },
    cutSubscribers() {
      const subscribers = [...pairs].filter(({ isSubscriber }) => isSubscriber)
      for (const { client, server } of subscribers) {
        client.resetAndDestroy()
        server.resetAndDestroy()
      }
      return subscribers.length
    },
    swallowWakeUps() {
      for (const pair of pairs) if (pair.isSubscriber) pair.isSwallowed = true
    },
    close() {
      listener.close()
      for (const { client, server } of pairs) {
        client.destroy()
        server.destroy()
      }
    },
  }
}
