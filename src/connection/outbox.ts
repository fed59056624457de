import type { PendingSnapshot, Reader } from '../channel/catch-up.ts'
import type { Telemetry } from '../telemetry.ts'
import type { Socket } from '../transport/socket.ts'

/**
 * Bytes in the process above which a reader is parked. With one frame more (at most a page of history, or one long
 * message) a slow reader costs less than 256 KB.
 */
export const HIGH_WATER_BYTES = 64 * 1024
/** Answers to requests are never dropped; who asks on without reading them is closed here. */
export const ANSWER_LIMIT_BYTES = 192 * 1024

/** What the outbox tells its connection. */
export interface OutboxEvents {
  /** More than HIGH_WATER_BYTES wait. */
  congested(): void
  /** More than ANSWER_LIMIT_BYTES wait. */
  overrun(): void
  /** The reader begins anew: a `welcome` with this epoch and offset 0 is due. */
  welcome(epoch: string): void
}

/** A connection's ordered way out, and its place in the log. One per connection, hence a class. */
export class Outbox implements Reader {
  epoch = ''
  offset = 0
  snapshot: PendingSnapshot | undefined
  isFresh = true
  conversation_id: string | undefined
  readonly #socket: Socket
  readonly #telemetry: Telemetry
  readonly #events: OutboxEvents

  constructor(socket: Socket, telemetry: Telemetry, events: OutboxEvents) {
    this.#socket = socket
    this.#telemetry = telemetry
    this.#events = events
  }

  /** The reader holds what he says: the log is read on from there. */
  resume(epoch: string, offset: number): void {
    this.epoch = epoch
    this.offset = offset
    this.isFresh = false
  }

  begin(epoch: string): void {
    this.epoch = epoch
    this.offset = 0
    this.snapshot = undefined
    this.isFresh = true
    this.#events.welcome(epoch)
  }

  keep(snapshot: PendingSnapshot): void {
    this.snapshot = snapshot
  }

  moveTo(offset: number): void {
    this.offset = offset
    this.snapshot = undefined
    this.isFresh = false
  }

  take(text: string, offset: number | undefined): boolean {
    this.#write(text)
    if (offset !== undefined) this.offset = offset
    if (this.#socket.buffered() <= HIGH_WATER_BYTES) return true
    this.#events.congested()
    return false
  }

  /** A live frame; one that was read from the log already is passed over. */
  deliver(offset: number, text: string): void {
    if (offset > this.offset) this.take(text, offset)
  }

  /** A signal to a live reader. */
  signal(text: string): void {
    this.take(text, undefined)
  }

  /** The answer to a request. */
  answer(text: string): void {
    this.#write(text)
    if (this.#socket.buffered() > ANSWER_LIMIT_BYTES) this.#events.overrun()
  }

  #write(text: string): void {
    this.#telemetry.framesSent++
    this.#socket.send(text)
  }
}
