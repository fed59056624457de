import type { PendingSnapshot, Reader } from '../channel/catch-up.ts'
import type { Position } from '../protocol/position.ts'
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
  /** A `welcome` is due: the reader begins anew, or goes on from an offset. */
  welcome(epoch: string, resumedAt?: number): void
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
  /** Acknowledgements whose place in the log the reader has not reached; undefined where there is none, which is nearly always. */
  #held: { readonly position: Position; readonly text: string }[] | undefined

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
    this.#letGo(epoch)
    this.#events.welcome(epoch)
  }

  goOn(epoch: string): void {
    this.epoch = epoch
    this.#letGo(epoch)
    this.#events.welcome(epoch, this.offset)
    this.#tellHeld()
  }

  /** What was to be acknowledged is read from the log like all that comes now, or was lost. */
  #letGo(epoch: string): void {
    this.#held = this.#held?.filter(({ position }) => position.epoch === epoch)
  }

  keep(snapshot: PendingSnapshot): void {
    this.snapshot = snapshot
  }

  moveTo(offset: number): void {
    this.offset = offset
    this.snapshot = undefined
    this.isFresh = false
    this.#tellHeld()
  }

  take(text: string, offset: number | undefined): boolean {
    this.#write(text)
    if (offset !== undefined) {
      this.offset = offset
      this.#tellHeld()
    }
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

  /**
   * The answer by a frame of the log. Told at once it would move the reader's position over what he has not got yet, so
   * it waits until he has.
   */
  acknowledge(position: Position, text: string): void {
    if (this.#isReached(position)) {
      this.answer(text)
      return
    }
    this.#held ??= []
    this.#held.push({ position, text })
    const bytes = this.#held.reduce((sum, { text }) => sum + text.length, 0)
    if (bytes > ANSWER_LIMIT_BYTES) this.#events.overrun()
  }

  #isReached({ epoch, offset }: Position): boolean {
    return epoch === this.epoch && offset <= this.offset
  }

  #tellHeld(): void {
    if (this.#held === undefined) return
    const reached = this.#held.filter(({ position }) => this.#isReached(position))
    const rest = this.#held.filter(({ position }) => !this.#isReached(position))
    this.#held = rest.length > 0 ? rest : undefined
    for (const { text } of reached) this.answer(text)
  }

  #write(text: string): void {
    this.#telemetry.framesSent++
    this.#socket.send(text)
  }
}
