import type { ConnectionEvent } from '../../machines/connection-event.ts'
import type { Actor } from '../actor/actor-host.ts'
import type { Channel } from '../channel/channel.ts'
import type { TurnDisplay } from '../channel/chat-state.ts'
import { fairKeyOf } from '../channel/fair-key.ts'
import type { Member, Principal } from '../channel/member.ts'
import { newId } from '../channel/new-id.ts'
import { LogUnreachable } from '../log/channel-log.ts'
import { CLIENT_FRAME_TYPES } from '../protocol/client-frame.ts'
import { CLOSES, type CloseName } from '../protocol/close-codes.ts'
import { decode, encode, errorFrame, isJsonObject } from '../protocol/codec.ts'
import type { Position } from '../protocol/position.ts'
import { count } from '../telemetry.ts'
import type { Socket, SocketListener } from '../transport/socket.ts'
import type { UpgradeRequest } from '../transport/upgrade.ts'
import { ANONYMOUS, type Place } from './admission.ts'
import { type ConnectionOptions, limitsOf } from './connection-options.ts'
import { EarlyFrames } from './early-frames.ts'
import { Outbox } from './outbox.ts'
import { RateLimit } from './rate-limit.ts'

const PONG = encode({ type: 'pong' })

/**
 * One socket and its actor. What the connection may do is in the chart alone; this is the data that the chart's guards
 * look at, and the way in and out. There are as many as sockets, hence a class.
 */
export class Connection implements Member, SocketListener {
  readonly client_id = newId()
  readonly socket: Socket
  readonly request: UpgradeRequest
  readonly options: ConnectionOptions
  readonly outbox: Outbox
  readonly rate: RateLimit
  /** What the rate leaves free. */
  readonly freeRate: RateLimit
  principal: Principal = ANONYMOUS
  /** Undefined on `/ws`, and until it has joined. */
  channel: Channel | undefined
  place: Place | undefined
  /** Set once, before the first event. */
  actor!: Actor<ConnectionEvent>
  heardAt: number
  pingedAt = Number.NEGATIVE_INFINITY
  /** When the reader was parked, or took something since. */
  progressAt = Number.NEGATIVE_INFINITY
  /** Why it is being closed. */
  close: CloseName | undefined
  /** Frames that came before the welcome; undefined from then on. */
  #early: EarlyFrames | undefined = new EarlyFrames()
  /** How often it began to read the log; what an earlier reading finds is void. See `read-on.ts`. */
  readings = 0
  #isReleased = false

  constructor(socket: Socket, request: UpgradeRequest, options: ConnectionOptions) {
    this.socket = socket
    this.request = request
    this.options = options
    this.heardAt = options.clock.now()
    const { RATE_LIMIT, RATE_BURST, RATE_STRIKES, FREE_RATE_LIMIT } = options.config
    this.rate = new RateLimit({ rate: RATE_LIMIT, burst: RATE_BURST, strikes: RATE_STRIKES }, this.heardAt)
    this.freeRate = new RateLimit({ rate: FREE_RATE_LIMIT, burst: FREE_RATE_LIMIT, strikes: 0 }, this.heardAt)
    if (options.addressRate !== undefined) this.rate.share(options.addressRate, request.ip)
    this.outbox = new Outbox(socket, options.telemetry, this)
  }

  get fairKey(): string {
    return fairKeyOf(this.principal === ANONYMOUS ? this.request.ip : this.principal.id)
  }

  get isReleased(): boolean {
    return this.#isReleased
  }

  // What the socket says.

  message(text: string): void {
    this.options.telemetry.framesReceived++
    this.#stamp()
    if (this.#early === undefined) this.#receive(text)
    else if (!this.#early.keep(text)) this.actor.send({ type: 'connection.close', close: 'tooEarly' })
  }

  binary(): void {
    this.actor.send({ type: 'connection.close', close: 'binary' })
  }

  tooBig(): void {
    this.actor.send({ type: 'connection.close', close: 'tooBig' })
  }

  heard(): void {
    this.#stamp()
    this.#isWithinFreeRate()
  }

  #stamp(): void {
    const wasPinged = this.pingedAt >= this.heardAt
    this.heardAt = this.options.clock.now()
    // An edge only when a ping is out; otherwise a sign of life is a stamp that the timer will look at.
    if (wasPinged) this.actor.send({ type: 'socket.heard' })
  }

  progressed(): void {
    this.progressAt = this.options.clock.now()
  }

  drained(): void {
    this.actor.send({ type: 'socket.drained' })
  }

  closed(code: number, cause: string | undefined): void {
    const { telemetry, logger } = this.options
    count(telemetry.closes, code)
    if (cause !== undefined) {
      count(telemetry.cuts, cause)
      logger.info({ connection_id: this.client_id, cause }, 'connection cut')
    }
    this.actor.send({ type: 'socket.closed' })
  }

  // What the channel says.

  deliver(offset: number, text: string): void {
    this.outbox.deliver(offset, text)
  }

  signal(text: string): void {
    this.outbox.signal(text)
  }

  answer(text: string): void {
    if (this.actor.matches('open')) this.outbox.answer(text)
  }

  acknowledge(position: Position, text: string): void {
    if (this.actor.matches('open')) this.outbox.acknowledge(position, text)
  }

  turnIs(display: TurnDisplay): void {
    this.actor.send({ type: `turn.${display}` })
  }

  logIsReset(): void {
    this.actor.send({ type: 'log.reset' })
  }

  fail(error: unknown): void {
    this.actor.send({ type: 'connection.close', close: error instanceof LogUnreachable ? 'unread' : 'fault' })
  }

  // What the outbox says.

  congested(): void {
    this.progressAt = this.options.clock.now()
    this.actor.send({ type: 'socket.congested' })
  }

  overrun(): void {
    this.actor.send({ type: 'connection.close', close: 'slowReader' })
  }

  welcome(epoch: string, resumedAt?: number): void {
    this.outbox.answer(
      encode({
        type: 'welcome',
        protocol: 1,
        connection_id: this.client_id,
        channel: this.request.channel,
        epoch,
        offset: resumedAt ?? 0,
        resumed: resumedAt !== undefined,
        limits: limitsOf(this.options),
      }),
    )
  }

  // What the chart's actions ask for.

  takeEarly(): void {
    const early = this.#early ?? new EarlyFrames()
    this.#early = undefined
    try {
      for (const text of early) this.#receive(text)
    } catch (error) {
      this.breakOff(error)
    }
  }

  /** Gives back everything. Idempotent: a connection whose actor failed is released by whoever finds it. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.readings++
    this.#early = undefined
    this.place?.leave()
    this.channel?.leave(this)
    this.options.onReleased(this)
  }

  /** The actor failed: this connection ends, and no other is touched. SPEC.md L10. */
  breakOff(error: unknown): void {
    this.options.logger.error(
      { err: error, connection_id: this.client_id },
      'a connection failed by a fault of the server',
    )
    this.release()
    this.socket.end(CLOSES.fault.code, CLOSES.fault.reason)
  }

  #receive(text: string): void {
    if (this.request.route === 'ws' && !isJsonObject(text)) {
      if (this.#isWithinRate(undefined)) this.answer(text)
      return
    }
    const decoded = decode(text)
    if ('error' in decoded) {
      if (this.#isWithinRate(decoded.error.id)) this.answer(encode(decoded.error))
      return
    }
    const { frame } = decoded
    const isFree = frame.type === 'ping' || frame.type === 'pong' || frame.type === 'stop'
    if (!(isFree ? this.#isWithinFreeRate() : this.#isWithinRate('id' in frame ? frame.id : undefined))) return
    // Pings are data, and pass by the chart.
    if (frame.type === 'ping') this.answer(PONG)
    if (frame.type === 'ping' || frame.type === 'pong') return
    if (!this.actor.send(frame)) {
      const legal = this.actor.legal(CLIENT_FRAME_TYPES)
      this.answer(
        encode(errorFrame('illegal', { id: 'id' in frame ? frame.id : undefined, legal: [...legal, 'ping', 'pong'] })),
      )
    }
  }

  /** A flood of cheap frames keeps uWebSockets.js reading this one socket, timers and all others waiting: it is cut here. */
  #isWithinFreeRate(): boolean {
    if (this.freeRate.take(this.options.clock.now())) return true
    this.actor.send({ type: 'connection.close', close: 'abusive' })
    this.socket.cut()
    return false
  }

  #isWithinRate(id: string | undefined): boolean {
    if (this.rate.take(this.options.clock.now())) return true
    this.actor.send({ type: 'rate.exceeded', id })
    return false
  }
}
