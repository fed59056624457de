import type { Timer } from '../actor/clock.ts'
import type { Lease } from '../coordination/coordination.ts'
import { type AppendCondition, type Appended, LogError } from '../log/channel-log.ts'
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
  /** Resolves when the log is not being read anew. Rejects with LogError. */
  whenRead(): Promise<void>
  /** Resolves when all that the log has now is folded. Rejects with LogError. */
  readToHead(): Promise<void>
  append(entry: Entry, producer: string, sequence: number | string, condition: AppendCondition): Promise<Appended>
  tellPosition(turn_id: string, position: number): void
  /** A turn's end could not be written yet. */
  tellUnsaved(turn_id: string): void
  /** A turn could not be taken up yet, by this process; each tries. */
  tellNotBegun(turn_id: string): void
  /** No turn runs any more. */
  turnsAreIdle(): void
}

/** What is known of a turn's origin as long as the process lives. */
export interface Origin {
  readonly principal: string
  readonly metadata: Readonly<Record<string, unknown>> | undefined
}

/** The turn that runs here. `turn` is undefined while its lease is being taken. */
interface Running {
  readonly turn_id: string
  turn: Turn | undefined
  lease: Lease | undefined
  /** The log lost something of its answer. */
  hasHole: boolean
}

/** A turn that this many processes took up without one delta is given up: it may be what kills them. */
const MAX_RUNS = 2
/** How long a turn that another process runs is left alone before its lease is asked for again, in ms. */
const LEASE_POLL_MS = 1_000

/** Runs a chat's open turns, one at a time, in the log's order. One per chat, hence a class. */
export class ChatTurns {
  readonly #chat: ChatOfTurns
  readonly #options: ChatOptions
  #running: Running | undefined
  #poll: Timer | undefined
  /** The turn that was done with last. Where it is open all the same, its end is not to be seen in the log. */
  #doneWith: string | undefined
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

  /** Starts the first open turn, where none runs: here, by the right of a lease, or on another process that holds it. */
  advance(): void {
    const turn = firstOpen(this.#chat.state)
    if (turn === undefined || this.isRunning || this.#chat.isReading || this.#options.isDraining()) return
    const running: Running = { turn: undefined, turn_id: turn.turn_id, lease: undefined, hasHole: false }
    this.#running = running
    this.#take(running).then(
      () => this.#options.takingUp.worked(this.#chat.key),
      (error: unknown) => {
        this.#options.takingUp.failed(this.#chat.key, error)
        this.#chat.tellNotBegun(turn.turn_id)
        this.#giveUp(running)
      },
    )
  }

  /** A turn's stop is in the log, or could not be written: whoever runs the channel's turns ends it. */
  async stop(turn_id: string): Promise<void> {
    const running = this.#running
    if (running?.turn_id === turn_id) running.turn?.stop()
    else if (running?.lease !== undefined) await this.#endWithoutModel(turn_id, 'stopped', running.lease.token)
    else this.advance()
  }

  /** A turn has ended. One that runs here and did not write that itself was taken over. */
  ended(turn_id: string): void {
    if (this.#running?.turn_id === turn_id) this.#running.turn?.lose()
    this.#origins.delete(turn_id)
    this.advance()
  }

  /**
   * The log was read anew: turns that are not in it are no more, and one that lost something of its answer is not added to,
   * which would be a hole. `before` is what had been folded.
   */
  forgetLost(before: ChatState): void {
    const { open } = this.#chat.state
    for (const turn_id of this.#origins.keys()) if (!open.has(turn_id)) this.#origins.delete(turn_id)
    const running = this.#running
    if (running?.turn === undefined) return
    const [was, is] = [before.open.get(running.turn_id), open.get(running.turn_id)]
    running.hasHole ||= is === undefined || (was !== undefined && isShorter(is, was))
    if (running.hasHole) running.turn.lose()
  }

  /** The channel is forgotten. */
  close(): void {
    if (this.#poll !== undefined) this.#options.clock.clearTimeout(this.#poll)
    this.#options.takingUp.forget(this.#chat.key)
  }

  /** The server goes away: the running turn ends as interrupted. */
  interrupt(): void {
    this.#running?.turn?.interrupt()
  }

  async #take(running: Running): Promise<void> {
    const { turn_id } = running
    running.lease = await this.#options.coordination.lease(`turn:${this.#chat.key}`, () => running.turn?.lose())
    if (running.lease === undefined) return this.#giveUp(running)
    // What the last holder wrote before its lease ended may still be on its way here, and decides what is to be done.
    if (running.lease.mayBeBehind) await this.#chat.readToHead()
    await this.#endStopped(turn_id, running.lease)
    const turn = this.#chat.state.open.get(turn_id)
    if (turn === undefined || this.#chat.isReading) this.#finished(turn_id)
    else await this.#start(turn, running, running.lease)
  }

  /** Ends the waiting turns whose stop was written while nobody here could. */
  async #endStopped(except: string, lease: Lease): Promise<void> {
    for (const { turn_id, isStopWanted } of [...this.#chat.state.open.values()]) {
      if (isStopWanted && turn_id !== except) await this.#endWithoutModel(turn_id, 'stopped', lease.token)
    }
  }

  /** Somebody else runs the channel's turns, or nobody can: asks again later. */
  #giveUp(running: Running): void {
    running.lease?.release()
    if (this.#running === running) this.#running = undefined
    this.#advanceLater()
    this.#chat.turnsAreIdle()
  }

  #advanceLater(): void {
    this.#poll ??= this.#options.clock.setTimeout(() => {
      this.#poll = undefined
      this.advance()
    }, LEASE_POLL_MS)
  }

  async #start(turn: OpenTurn, running: Running, lease: Lease): Promise<void> {
    const { turn_id } = turn
    // Left over by a process that died: what was shown stands, and is not added to. SPEC.md C14.
    const isLeftOver = turn.answer.chunks > 0 || turn.run >= MAX_RUNS
    if (turn.isStopWanted || isLeftOver) {
      await this.#endWithoutModel(turn_id, turn.isStopWanted ? 'stopped' : 'interrupted', lease.token)
      this.#finished(turn_id)
      return
    }
    const { model, runTurn, systemPrompt, contextMessages } = this.#options
    const origin = this.#origins.get(turn_id)
    running.turn = runTurn({
      turn_id,
      run: turn.run + 1,
      isAsked: turn.isAsked,
      model,
      fairKey: turn.fairKey ?? this.#chat.key,
      request: () => ({
        messages: contextOf(this.#chat.state, turn_id, systemPrompt, contextMessages),
        turn_id,
        channel: this.#chat.key,
        ...(origin !== undefined && { principal: origin.principal }),
        ...(origin?.metadata !== undefined && { metadata: origin.metadata }),
      }),
      append: (entry, producer, sequence) => this.#append(running, lease, entry, producer, sequence),
      onPosition: (position) => this.#chat.tellPosition(turn_id, position),
      onEnded: () => this.#finished(turn_id),
      onUnsaved: () => this.#chat.tellUnsaved(turn_id),
    })
  }

  /** Appends what a running turn says, unless that would stand after a hole, or in a log that does not know the turn. */
  async #append(running: Running, lease: Lease, ...[entry, producer, sequence]: Parameters<AppendOfTurn>) {
    // Where the log cannot be read, it refuses such an entry itself.
    await this.#chat.whenRead().catch(() => {})
    if (running.hasHole || !this.#chat.state.open.has(running.turn_id))
      throw new LogError('fenced', 'the log has lost what the turn said')
    return this.#chat.append(entry, producer, sequence, { fence: lease.token })
  }

  #finished(turn_id: string): void {
    if (this.#running?.turn_id !== turn_id) return
    this.#running.lease?.release()
    this.#running = undefined
    this.#origins.delete(turn_id)
    const isAgain = this.#doneWith === turn_id
    this.#doneWith = turn_id
    // One that was taken over or has a hole is ended at the second go; what is open after that may never be.
    if (isAgain && this.#chat.state.open.has(turn_id)) this.#advanceLater()
    else this.advance()
    if (!this.isRunning) this.#chat.turnsAreIdle()
  }

  async #endWithoutModel(turn_id: string, outcome: 'stopped' | 'interrupted', fence: number): Promise<void> {
    const turn = this.#chat.state.open.get(turn_id)
    // Lost with its log, meanwhile.
    if (turn === undefined) return
    const words = countWords(turn.answer.text)
    const error = outcome === 'interrupted' ? outcome : undefined
    const append: AppendOfTurn = (entry, producer, sequence) => this.#chat.append(entry, producer, sequence, { fence })
    await appendEnd(append, { turn_id, outcome, error, words })
  }
}

/** Whether a turn has lost something of what it had come to. */
function isShorter(is: OpenTurn, was: OpenTurn): boolean {
  if (was.isAsked && !is.isAsked) return true
  return is.answer.chunks < was.answer.chunks || is.run < was.run || (is.run === was.run && is.attempts < was.attempts)
}
