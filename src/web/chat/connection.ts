import type { Clock, Timer } from '../../actor/clock.ts'
import { CLOSES } from '../../protocol/close-codes.ts'
import type { Position } from '../../protocol/position.ts'
import { type ChatFrame, readFrame } from './read-frame.ts'

/** The longest wait between two attempts, in ms. */
export const MAX_BACKOFF_MS = 30_000
/** The wait that the first attempt is drawn from, in ms; each further one doubles it. */
export const BASE_BACKOFF_MS = 500
/** How long an attempt may take until its `welcome`, in ms. */
export const WELCOME_DEADLINE_MS = 15_000
/** A connection that the server itself closes must have held this long, in ms, for short waits to begin anew: else a server that only greets would be hammered. */
const STEADY_MS = 5_000
/** What a browser reports where no close frame came: the line was cut, which says nothing against the server. */
const CUT = 1006

/** What happens to a socket. */
export interface SocketEvents {
  opened(): void
  message(text: string): void
  closed(code: number): void
}

/** As much of a WebSocket as the page needs. */
export interface PageSocket {
  send(text: string): void
  close(): void
}

/**
 * Where the connection is, in the words of `machines/connection.machine.ts`. A `closed` one says when it tries again
 * (in the clock's ms), that it waits for the network, or which close code ended it for good. `failures` counts the
 * attempts and short-lived connections since it last held.
 */
export type Link =
  | { readonly at: 'connecting' | 'accepting'; readonly failures: number }
  | { readonly at: 'open' | 'closing' }
  | {
      readonly at: 'closed'
      readonly failures: number
      readonly retryAt?: number
      readonly offline?: boolean
      readonly endedBy?: number
    }

/** What a connection is made of. */
export interface ConnectionParts {
  /** The channel's URL without a query. */
  readonly url: string
  /** What the page holds at this moment; undefined joins afresh. */
  position(): Position | undefined
  openSocket(url: string, events: SocketEvents): PageSocket
  readonly clock: Clock
  /** From 0 up to 1. */
  random(): number
  onFrame(frame: ChatFrame): void
  onLink(link: Link): void
}

/** A channel's connection, which comes back by itself. */
export interface Connection {
  link(): Link
  /** Answers whether it went out; it does not unless the link is `open`. */
  send(text: string): boolean
  /** Something has changed: do not wait any longer. An open link is asked whether it lives; one that was ended stays so. */
  wake(): void
  /** Connects at once, also after the server has ended it: a person wants it so. */
  reconnect(): void
  /** The network is gone: no attempts until `wake`. */
  offline(): void
  /** Ends it for good. */
  close(): void
}

const FINAL_CODES: ReadonlySet<number> = new Set(
  Object.values(CLOSES).flatMap((close) => (close.again ? [] : [close.code])),
)

/** Connects at once, and again after every loss, from the position that the page then holds. SPEC.md G2. */
export function createConnection(parts: ConnectionParts): Connection {
  const { clock } = parts
  let link: Link = { at: 'connecting', failures: 0 }
  let socket: PageSocket | undefined
  // Which socket is the present one: events of an abandoned one may still come.
  let generation = 0
  let failures = 0
  let openedAt = 0
  let drainDelay: number | undefined
  let heartbeat = { interval: Number.POSITIVE_INFINITY, timeout: WELCOME_DEADLINE_MS }
  let timer: Timer | undefined
  let probing = false
  let finished = false

  function setLink(next: Link): void {
    link = next
    parts.onLink(next)
  }

  function setTimer(callback: () => void, delay: number): void {
    if (timer !== undefined) clock.clearTimeout(timer)
    timer = Number.isFinite(delay) ? clock.setTimeout(callback, delay) : undefined
  }

  function connect(): void {
    const mine = ++generation
    const ifPresent = (act: () => void) => {
      if (mine === generation) act()
    }
    setLink({ at: 'connecting', failures })
    setTimer(() => abandon(false), WELCOME_DEADLINE_MS)
    socket = parts.openSocket(withPosition(parts.url, parts.position()), {
      opened: () => ifPresent(() => setLink({ at: 'accepting', failures })),
      message: (text) => ifPresent(() => receive(text)),
      closed: (code) => ifPresent(() => lost(code)),
    })
  }

  function receive(text: string): void {
    const frame = readFrame(text)
    if (link.at === 'open') listen()
    if (frame === undefined) return
    if (frame.type === 'welcome') welcomed(frame)
    if (frame.type === 'draining') drainDelay = frame.reconnect_after_ms
    parts.onFrame(frame)
  }

  function welcomed(frame: Extract<ChatFrame, { type: 'welcome' }>): void {
    heartbeat = { interval: frame.limits.heartbeat_interval_ms, timeout: frame.limits.heartbeat_timeout_ms }
    openedAt = clock.now()
    listen()
    setLink({ at: 'open' })
  }

  // A browser does not show the server's pings to a page, so that silence has to be broken by a ping of our own.
  function listen(): void {
    probing = false
    setTimer(probe, heartbeat.interval)
  }

  function probe(): void {
    if (probing) return
    probing = true
    socket?.send('{"type":"ping"}')
    setTimer(() => abandon(true), Math.min(heartbeat.timeout, WELCOME_DEADLINE_MS))
  }

  // The close handshake of a dead link can take minutes: leave the socket to the browser and go on without it.
  function abandon(atOnce: boolean): void {
    generation++
    socket?.close()
    if (atOnce) connect()
    else lost(CUT)
  }

  function lost(code: number): void {
    generation++
    socket = undefined
    setTimer(() => undefined, Number.POSITIVE_INFINITY)
    if (finished || FINAL_CODES.has(code)) {
      setLink({ at: 'closed', failures, ...(finished ? {} : { endedBy: code }) })
      return
    }
    if (link.at === 'open' && (code === CUT || clock.now() - openedAt >= STEADY_MS)) failures = 0
    const delay = drainDelay ?? parts.random() * Math.min(MAX_BACKOFF_MS, BASE_BACKOFF_MS * 2 ** failures)
    drainDelay = undefined
    failures++
    setTimer(connect, delay)
    setLink({ at: 'closed', failures, retryAt: clock.now() + delay })
  }

  connect()
  return {
    link: () => link,
    send(text) {
      if (link.at !== 'open' || socket === undefined) return false
      socket.send(text)
      return true
    },
    wake() {
      if (finished) return
      if (link.at === 'open') probe()
      if (link.at === 'closed' && link.endedBy === undefined) connect()
    },
    reconnect() {
      if (link.at === 'closed' && !finished) connect()
    },
    offline() {
      if (link.at === 'open') probe()
      if (link.at !== 'closed' || link.endedBy !== undefined) return
      setTimer(() => undefined, Number.POSITIVE_INFINITY)
      setLink({ at: 'closed', failures, offline: true })
    },
    close() {
      finished = true
      setTimer(() => undefined, Number.POSITIVE_INFINITY)
      if (link.at === 'closed') return
      setLink({ at: 'closing' })
      socket?.close()
    },
  }
}

function withPosition(url: string, position: Position | undefined): string {
  if (position === undefined) return url
  return `${url}?${new URLSearchParams({ epoch: position.epoch, offset: String(position.offset) })}`
}
