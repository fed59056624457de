import type { ClientClock } from '../../src/client/client-clock.ts'
import type { ClientSocket, SocketEvents } from '../../src/client/socket.ts'
import { createFakeClock } from '../support/fake-clock.ts'

/** A socket whose far end is the test. */
export interface FakeSocket {
  readonly url: string
  readonly events: SocketEvents
  readonly sent: string[]
  closed: boolean
}

/** Sockets as the client opens them, for tests that play the server. */
export interface FakeSockets {
  readonly all: FakeSocket[]
  last(): FakeSocket
  open(url: string, events: SocketEvents): ClientSocket
}

/** See {@link FakeSockets}. */
export function createFakeSockets(): FakeSockets {
  const all: FakeSocket[] = []
  return {
    all,
    last() {
      const socket = all.at(-1)
      if (socket === undefined) throw new Error('no socket was opened')
      return socket
    },
    open(url, events) {
      const socket: FakeSocket = { url, events, sent: [], closed: false }
      all.push(socket)
      return {
        send: (text) => socket.sent.push(text),
        close() {
          socket.closed = true
        },
      }
    },
  }
}

/** A `welcome` as the server writes it, with the default limits unless told otherwise. */
export function welcomeText(fields: Record<string, unknown> = {}): string {
  return JSON.stringify({
    type: 'welcome',
    protocol: 1,
    connection_id: 'c',
    channel: 'x',
    epoch: 'e',
    offset: 0,
    resumed: false,
    limits: {
      max_message_bytes: 65_536,
      rate_limit: 10,
      rate_burst: 20,
      heartbeat_interval_ms: 30_000,
      heartbeat_timeout_ms: 10_000,
    },
    ...fields,
  })
}

/** Time that only a test moves, as the client sees it. */
export function createFakeTime(): ClientClock & { advance(ms: number): void } {
  const clock = createFakeClock()
  return {
    now: clock.now,
    advance: clock.advance,
    after(delayMs, callback) {
      const timer = clock.setTimeout(callback, delayMs)
      return () => clock.clearTimeout(timer)
    },
  }
}
