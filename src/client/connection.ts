import type { Position } from '../protocol/position.ts'
import type { ClientClock } from './client-clock.ts'
import type { FrameOf, Limits, ServerFrame } from './frames.ts'
import { readFrame } from './read-frame.ts'
import type { ClientSocket, SocketEvents } from './socket.ts'

/** The longest wait between two attempts, in ms. */
export const MAX_BACKOFF_MS = 30_000
/** The wait that the first attempt is drawn from, in ms; each further one doubles it. */
export const BASE_BACKOFF_MS = 500
/** How long an attempt may take until its `welcome`, in ms. */
export const WELCOME_DEADLINE_MS = 15_000
/** How long a server may take to answer our close, in ms. */
export const CLOSE_DEADLINE_MS = 3_000
/** A connection that the server itself closes must have held this long, in ms, for short waits to begin anew: else a server that only greets would be hammered. */
const STEADY_MS = 5_000
/** What a WebSocket reports where no close frame came: the line was cut, which says nothing against the server. */
const CUT = 1006
/** The close codes after which the table in `src/protocol/close-codes.ts` says not to come back; a test compares them. The table itself, with its sentences, would be a fifth of this library. */
export const FINAL_CODES: readonly number[] = [1000, 1003, 1008, 1009, 4401, 4429]

/**
 * Where the connection is, in the words of `machines/connection.machine.ts`; between two attempts it is `waiting` (until
 * `retryAt`, in the clock's ms), or `offline` until the network is back. A `closed` one has ended for good, by the
 * server with its close code, or without one by `close()`. `failures` counts the attempts and short-lived connections
 * since it last held.
 */
export type Link =
  | { readonly at: 'connecting' | 'accepting' | 'offline'; readonly failures: number }
  | { readonly at: 'waiting'; readonly failures: number; readonly retryAt: number }
  | { readonly at: 'open' | 'closing' }
  | { readonly at: 'closed'; readonly code?: number; readonly reason?: string }

/** What a connection is made of. */
export interface ConnectionParts {
  /** The channel's URL, with a query or without; asked anew before each attempt where it is a function. */
  readonly url: string | (() => string | Promise<string>)
  /** What the client holds at this moment; undefined joins afresh. */
  position(): Position | undefined
  openSocket(url: string, events: SocketEvents): ClientSocket
  readonly clock: ClientClock
  /** From 0 up to 1. */
  random(): number
  /** Whether to come back after a close code; by default what {@link FINAL_CODES} says. */
  again?(code: number): boolean
  onFrame(frame: ServerFrame): void
  onLink(link: Link): void
}

/** A channel's connection, which comes back by itself. */
export interface Connection {
  link(): Link
  /** Answers whether it went out; it does not unless the link is `open`. */
  send(frame: object): boolean
  /** Something has changed: do not wait any longer. An open link is asked whether it lives; one that was ended stays so. */
  wake(): void
  /** Connects at once, also after the server has ended it: a person wants it so. */
  reconnect(): void
  /** The network is gone: no attempts until `wake`. */
  offline(): void
  /** Ends it for good. */
  close(): void
}

/** Connects at once, and again after every loss, from the position that the client then holds. SPEC.md G2. */
export function createConnection(parts: ConnectionParts): Connection {
  const { clock, url } = parts
  const again = parts.again ?? ((code) => !FINAL_CODES.includes(code))
  let link: Link = { at: 'connecting', failures: 0 }
  let socket: ClientSocket | undefined
  // Which socket is the present one: events of an abandoned one may still come.
  let generation = 0
  let failures = 0
  let openedAt = 0
  /** How long the server has asked us to stay away. */
  let toldDelay: number | undefined
  let channel: string | undefined
  let heartbeat: Pick<Limits, 'heartbeat_interval_ms' | 'heartbeat_timeout_ms'>
  let cancelTimer: (() => void) | undefined
  let probing = false
  let finished = false

  function setLink(next: Link): void {
    link = next
    parts.onLink(next)
  }

  function setTimer(callback: () => void, delay: number): void {
    cancelTimer?.()
    cancelTimer = clock.after(delay, callback)
  }

  function connect(): void {
    const mine = ++generation
    const ifPresent = (act: () => void) => {
      if (mine === generation) act()
    }
    const open = (to: string) =>
      ifPresent(() => {
        socket = parts.openSocket(urlAt(to, channel, parts.position()), {
          opened: () => ifPresent(() => setLink({ at: 'accepting', failures })),
          message: (text) => ifPresent(() => receive(text)),
          closed: (code, reason) => ifPresent(() => lost(code, reason)),
        })
      })
    setLink({ at: 'connecting', failures })
    setTimer(() => abandon(false), WELCOME_DEADLINE_MS)
    if (typeof url === 'string') open(url)
    // Why there is no address is known to whoever wrote the function; here it is an attempt that came to nothing.
    else new Promise<string>((resolve) => resolve(url())).then(open).catch(() => ifPresent(() => lost(CUT)))
  }

  function receive(text: string): void {
    const frame = readFrame(text)
    if (link.at === 'open') listen()
    if (frame === undefined) return
    if (frame.type === 'draining') toldDelay = frame.reconnect_after_ms
    // While it is open, an error's delay is for the frame that it answers.
    if (frame.type === 'error' && link.at !== 'open') toldDelay = frame.retry_after_ms
    if (frame.type === 'welcome') welcomed(frame)
    parts.onFrame(frame)
  }

  function welcomed({ limits, channel: name }: FrameOf<'welcome'>): void {
    heartbeat = limits
    channel = name
    listen()
    // Its log has another epoch: nothing else about the connection has changed. SPEC.md G8.
    if (link.at === 'open') return
    toldDelay = undefined
    openedAt = clock.now()
    setLink({ at: 'open' })
  }

  // A browser does not show the server's pings to a page, so that silence has to be broken by a ping of our own.
  function listen(): void {
    probing = false
    setTimer(probe, heartbeat.heartbeat_interval_ms)
  }

  function probe(): void {
    if (probing) return
    probing = true
    socket?.send('{"type":"ping"}')
    setTimer(() => abandon(true), Math.min(heartbeat.heartbeat_timeout_ms, WELCOME_DEADLINE_MS))
  }

  // The close handshake of a dead link can take minutes: leave the socket to its own end and go on without it.
  function abandon(atOnce: boolean): void {
    generation++
    socket?.close()
    if (atOnce) connect()
    else lost(CUT)
  }

  function lost(code: number, reason = ''): void {
    generation++
    socket = undefined
    cancelTimer?.()
    if (finished) setLink({ at: 'closed' })
    else if (!again(code)) setLink({ at: 'closed', code, reason })
    else {
      if (link.at === 'open' && (code === CUT || clock.now() - openedAt >= STEADY_MS)) failures = 0
      const delay = toldDelay ?? parts.random() * Math.min(MAX_BACKOFF_MS, BASE_BACKOFF_MS * 2 ** failures)
      toldDelay = undefined
      failures++
      setTimer(connect, delay)
      setLink({ at: 'waiting', failures, retryAt: clock.now() + delay })
    }
  }

  const isBetween = () => link.at === 'waiting' || link.at === 'offline'

  connect()
  return {
    link: () => link,
    send(frame) {
      if (link.at !== 'open' || socket === undefined) return false
      socket.send(JSON.stringify(frame))
      return true
    },
    wake() {
      if (link.at === 'open') probe()
      if (isBetween()) connect()
    },
    reconnect() {
      if (!finished && (isBetween() || link.at === 'closed')) connect()
    },
    offline() {
      if (link.at === 'open') probe()
      if (!isBetween()) return
      cancelTimer?.()
      setLink({ at: 'offline', failures })
    },
    close() {
      if (finished) return
      finished = true
      if (isBetween() || link.at === 'closed' || socket === undefined) return lost(CUT)
      setLink({ at: 'closing' })
      setTimer(() => lost(CUT), CLOSE_DEADLINE_MS)
      socket.close()
    },
  }
}

/** Where to connect: a private channel has its name from the first `welcome` (SPEC.md L2), and a position goes into the query. */
function urlAt(to: string, channel: string | undefined, position: Position | undefined): string {
  const url = new URL(to)
  if (channel !== undefined && !url.pathname.endsWith(`/${channel}`)) {
    url.pathname = `${url.pathname.replace(/\/$/, '')}/${channel}`
  }
  if (position !== undefined) {
    url.searchParams.set('epoch', position.epoch)
    url.searchParams.set('offset', String(position.offset))
  }
  return url.href
}
