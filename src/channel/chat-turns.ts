import type { Lease } from '../coordination/coordination.ts'
import type { Appended } from '../log/channel-log.ts'
import type { Entry } from '../protocol/entry.ts'
import { type AppendOfTurn, appendEnd } from '../turn/end-turn.ts'
import type { Turn } from '../turn/turn.ts'
import { countWords } from '../turn/word-count.ts'
import type { ChatOptions } from './chat-options.ts'
import { type ChatState, firstOpen, type OpenTurn } from './chat-state.ts'
import { contextOf } from './context.ts'

/** What the turns need of their channel. */
export interface ChatOfTurns {
  readonly key: string
  readonly state: ChatState
  /** The log is being read anew: nothing may be begun by what is folded. */
  readonly isReading: boolean
  append(entry: Entry, producer: string, sequence: number | string, fence?: number): Promise<Appended>
  tellPosition(turn_id: string, position: number): void
  /** A turn's end could not be written yet. */
  tellUnsaved(turn_id: string): void
  /** No turn runs any more. */
  turnsAreIdle(): void
}

/** What is known of a turn's origin as long as the process lives. */
export interface Origin {
  readonly fairKey: string
  readonly principal: string
  readonly metadata: Readonly<Record<string, unknown>> | undefined
}

/** The turn that runs here. `turn` is undefined while its lease is being taken. */
interface Running {
  readonly turn_id: string
  turn: Turn | undefined
  lease: Lease | undefined
}

/** A turn that this many processes took up without one delta is given up: it may be what kills them. */
const MAX_RUNS = 2

/** Runs a chat's open turns, one at a time, in the log's order. One per chat, hence a class. */
export class ChatTurns {
  readonly #chat: ChatOfTurns
  readonly #options: ChatOptions
  #running: Running | undefined
  readonly #origins = new Map<string, Origin>()

  constructor(chat: ChatOfTurns, options: ChatOptions) {
    this.#chat = chat
    this.#options = options
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  /** Says where a turn comes from, before its message is appended. */
  remember(turn_id: string, origin: Origin): void {
    this.#origins.set(turn_id, origin)
  }

  /** The message was not appended after all. */
  forget(turn_id: string): void {
    this.#origins.delete(turn_id)
  }

  /** Starts the first open turn, where none runs. */
  advance(): void {
    const turn = firstOpen(this.#chat.state)
    if (turn === undefined || this.isRunning || this.#chat.isReading || this.#options.isDraining()) return
    const { turn_id } = turn
    const running: Running = { turn: undefined, turn_id, lease: undefined }
    this.#running = running
    this.#options.coordination.lease(`turn:${this.#chat.key}`).then(
      (lease) => {
        running.lease = lease
        const taken = this.#chat.state.open.get(turn_id)
        if (lease === undefined || taken === undefined || this.#chat.isReading) this.#finished(turn_id)
        else this.#start(taken, running, lease)
      },
      (error: unknown) => {
        this.#failed(error, 'no lease for a turn')
        this.#finished(turn_id)
      },
    )
  }

  /** Ends a turn, running or waiting. Rejects with LogError where a waiting one's end could not be written. */
  async stop(turn_id: string): Promise<void> {
    if (this.#running?.turn_id === turn_id) this.#running.turn?.stop()
    else if (this.#chat.state.open.has(turn_id)) await this.#endWithoutModel(turn_id, 'stopped')
  }

  /** The server goes away: the running turn ends as interrupted. */
  interrupt(): void {
    this.#running?.turn?.interrupt()
  }

  #start(turn: OpenTurn, running: Running, lease: Lease): void {
    const { turn_id } = turn
    // Left over by a process that died: what was shown stands, and is not added to. SPEC.md C14.
    const isLeftOver = turn.answer.chunks > 0 || turn.run >= MAX_RUNS
    if (turn.isStopWanted || isLeftOver) {
      this.#endWithoutModel(turn_id, turn.isStopWanted ? 'stopped' : 'interrupted', lease.token)
        .catch((error: unknown) => this.#failed(error, 'a left-over turn could not be ended'))
        .finally(() => this.#finished(turn_id))
      return
    }
    const { model, runTurn, systemPrompt, contextMessages } = this.#options
    const origin = this.#origins.get(turn_id)
    running.turn = runTurn({
      turn_id,
      run: turn.run + 1,
      isAsked: turn.isAsked,
      model,
      fairKey: origin?.fairKey ?? this.#chat.key,
      request: () => ({
        messages: contextOf(this.#chat.state, turn_id, systemPrompt, contextMessages),
        turn_id,
        channel: this.#chat.key,
        ...(origin !== undefined && { principal: origin.principal }),
        ...(origin?.metadata !== undefined && { metadata: origin.metadata }),
      }),
      append: (entry, producer, sequence) => this.#chat.append(entry, producer, sequence, lease.token),
      onPosition: (position) => this.#chat.tellPosition(turn_id, position),
      onEnded: () => this.#finished(turn_id),
      onUnsaved: () => this.#chat.tellUnsaved(turn_id),
    })
  }

  #finished(turn_id: string): void {
    if (this.#running?.turn_id !== turn_id) return
    this.#running.lease?.release()
    this.#running = undefined
    this.#origins.delete(turn_id)
    this.advance()
    if (!this.isRunning) this.#chat.turnsAreIdle()
  }

  async #endWithoutModel(turn_id: string, outcome: 'stopped' | 'interrupted', fence?: number): Promise<void> {
    const words = countWords(this.#chat.state.open.get(turn_id)?.answer.text ?? '')
    const error = outcome === 'interrupted' ? outcome : undefined
    const append: AppendOfTurn = (entry, producer, sequence) => this.#chat.append(entry, producer, sequence, fence)
    await appendEnd(append, { turn_id, outcome, error, words })
  }

  #failed(error: unknown, what: string): void {
    this.#options.logger.error({ err: error, channel: this.#chat.key }, what)
  }
}
