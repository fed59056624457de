import type { Logger } from 'pino'
import type { Coordination, Lease } from '../coordination/coordination.ts'
import type { ChannelLog, LogRecord } from '../log/channel-log.ts'
import type { ChatModel } from '../model/chat-model.ts'
import { encode, errorFrame } from '../protocol/codec.ts'
import type { Entry } from '../protocol/entry.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import type { UnloggedFrame } from '../protocol/server-frame.ts'
import { type AppendOfTurn, appendEnd } from '../turn/end-turn.ts'
import type { RunTurn, Turn } from '../turn/turn.ts'
import { countWords } from '../turn/word-count.ts'
import { Channel, type Member, newId, producerOf, type Snapshot, type WritingFrame } from './channel.ts'
import { planFrame } from './chat-plan.ts'
import { apply, type ChatState, createChatState, displayOf, firstOpen, historyOf, type OpenTurn } from './chat-state.ts'
import { contextOf } from './context.ts'
import { readConversation } from './read-conversation.ts'
import { chunksOf, historyPages } from './snapshot.ts'

/** What all chats of one route share. */
export interface ChatOptions {
  readonly log: ChannelLog
  readonly logger: Logger
  readonly model: ChatModel
  readonly runTurn: RunTurn
  readonly coordination: Coordination
  readonly systemPrompt: string
  readonly contextMessages: number
  readonly historyMessages: number
  /** Turns that may wait behind the running one. */
  readonly turnQueue: number
  /** `history` frames carry their list under `content`, too. */
  readonly isHistoryDoubled: boolean
  /** The server drains: no turn is begun. */
  readonly isDraining: () => boolean
  /** A turn ended; the channel may not be needed any more. */
  readonly onIdle: (channel: ChatChannel) => void
}

/** Frames of all members that wait for the one in hand; beyond it they are refused as busy. */
const MAX_WAITING_FRAMES = 256
/** A turn that this many processes took up without one delta is given up: it may be what kills them. */
const MAX_RUNS = 2

/** What is known of a turn's origin as long as the process lives. */
interface Origin {
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

/** A channel with a model: the judge of its turns. Their state is the fold of the log; only the running turn is beside it. */
export class ChatChannel extends Channel {
  readonly #options: ChatOptions
  #state: ChatState = createChatState()
  #running: Running | undefined
  readonly #origins = new Map<string, Origin>()
  /** Writing frames and stops, one after the other: each is judged by what the one before it wrote. */
  #last: Promise<void> = Promise.resolve()
  #waiting = 0

  constructor(options: ChatOptions, key: string) {
    super(options.log, key)
    this.#options = options
  }

  protected override clear(): void {
    this.#state = createChatState()
  }

  protected override fold({ entry }: LogRecord): void {
    const before = displayOf(this.#state)
    apply(this.#state, entry, Math.max(this.#options.historyMessages, this.#options.contextMessages))
    const display = displayOf(this.#state)
    if (display !== before) for (const member of this.members) member.turnIs(display)
  }

  protected override after({ entry }: LogRecord): void {
    if (entry.type !== 'user_message' && entry.type !== 'ai_stream_end' && entry.type !== 'typing') return
    this.#advance()
    if (entry.type !== 'typing') this.#tellPositions()
  }

  protected override loaded(): void {
    const display = displayOf(this.#state)
    for (const member of this.members) member.turnIs(display)
    this.#advance()
  }

  override enter(member: Member): void {
    member.turnIs(displayOf(this.#state))
  }

  override tellPresence(): void {}

  override isBusy(): boolean {
    return this.#running !== undefined || this.#waiting > 0
  }

  override async snapshot(conversation_id: string | undefined): Promise<Snapshot> {
    const { historyMessages, isHistoryDoubled } = this.#options
    const isOlder = conversation_id !== undefined && conversation_id !== this.#state.conversation_id
    const older =
      isOlder && this.hasConversation(conversation_id)
        ? await readConversation(this.log, this.key, this.epoch, conversation_id, historyMessages)
        : undefined
    // From here on nothing is awaited: messages, turn and offset are of one moment.
    const state = this.#state
    const messages = older ?? historyOf(state, historyMessages)
    const history = historyPages(messages, older ? conversation_id : state.conversation_id, isHistoryDoubled)
    const turn = firstOpen(state)
    const running = turn?.isAsked === true ? soFar(turn, { ...turn.answer }) : []
    return { frames: concat<UnloggedFrame | Entry>(history, running), offset: this.head, epoch: this.epoch }
  }

  /** Whether the channel has ever had a conversation of this id. */
  override hasConversation(conversation_id: string): boolean {
    return this.#state.conversations.has(conversation_id)
  }

  override post(frame: WritingFrame, member: Member): void {
    if (this.#waiting >= MAX_WAITING_FRAMES) {
      this.#refuse(member, 'busy', frame.id)
      return
    }
    this.#next(async () => {
      try {
        await this.settled
        await this.#write(frame, member)
      } catch (error) {
        this.#options.logger.error({ err: error, channel: this.key }, 'a frame could not be written')
        this.#refuse(member, 'storage', frame.id)
      }
    })
  }

  /** Ends a turn, running or waiting; the running one without `turn_id`. SPEC.md C6. */
  override stop(turn_id: string | undefined): void {
    this.#next(async () => {
      await this.settled
      const turn = turn_id === undefined ? firstOpen(this.#state) : this.#state.open.get(turn_id)
      if (turn === undefined) return
      const stop: Entry = { type: 'stop', turn_id: turn.turn_id }
      await this.append(stop, `stop:${turn.turn_id}`, 'stop').catch((error: unknown) => {
        // Stopping is what the user wants most when things go wrong; the log has the turn's end to tell of it.
        this.#options.logger.error({ err: error, channel: this.key }, 'the intent to stop could not be written')
      })
      if (this.#running?.turn_id === turn.turn_id) this.#running.turn?.stop()
      else if (this.#state.open.has(turn.turn_id)) await this.#endWithoutModel(turn.turn_id, 'stopped')
    })
  }

  /** The server goes away: the running turn ends as interrupted. */
  interrupt(): void {
    this.#running?.turn?.interrupt()
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  #next(run: () => Promise<void>): void {
    this.#waiting++
    this.#last = this.#last
      .then(() => this.whenRead())
      .then(run)
      .catch((error: unknown) => this.#options.logger.error({ err: error, channel: this.key }, 'a fault in a channel'))
      .finally(() => {
        this.#waiting--
        if (!this.isBusy()) this.#options.onIdle(this)
      })
  }

  async #write(frame: WritingFrame, member: Member): Promise<void> {
    const plan = planFrame(frame, this.#state, member.client_id, this.#options.turnQueue)
    if ('refused' in plan) {
      if (!(await this.answerRepeat(member, frame.id))) this.#refuse(member, plan.refused, frame.id)
      return
    }
    const { entry, turn_id } = plan
    if (turn_id !== undefined) {
      const metadata = frame.type === 'user_message' ? frame.metadata : undefined
      this.#origins.set(turn_id, { fairKey: member.fairKey, principal: member.principal.id, metadata })
    }
    try {
      const { repeated } = await this.append(entry, producerOf(member), frame.id ?? `-${newId()}`)
      if (!repeated) return
    } catch (error) {
      if (turn_id !== undefined) this.#origins.delete(turn_id)
      throw error
    }
    if (turn_id !== undefined) this.#origins.delete(turn_id)
    await this.answerRepeat(member, frame.id)
  }

  /** Tells the turns behind the running one their places. SPEC.md C12. */
  #tellPositions(): void {
    let position = 0
    for (const turn_id of this.#state.open.keys()) {
      if (position > 0) this.signal({ type: 'queued', turn_id, position })
      position++
    }
  }

  #refuse(member: Member, code: ErrorCode, id: string | undefined): void {
    member.answer(encode(errorFrame(code, { id })))
  }

  /** Starts the first open turn, where none runs. */
  #advance(): void {
    const turn = firstOpen(this.#state)
    if (turn === undefined || this.#running !== undefined || this.isReading || this.#options.isDraining()) return
    const running: Running = { turn: undefined, turn_id: turn.turn_id, lease: undefined }
    this.#running = running
    this.#options.coordination.lease(`turn:${this.key}`).then(
      (lease) => {
        running.lease = lease
        const taken = this.#state.open.get(turn.turn_id)
        if (lease === undefined || taken === undefined || this.isReading) this.#finished(turn.turn_id)
        else this.#start(taken, running, lease)
      },
      (error: unknown) => {
        this.#options.logger.error({ err: error, channel: this.key }, 'no lease for a turn')
        this.#finished(turn.turn_id)
      },
    )
  }

  #start(turn: OpenTurn, running: Running, lease: Lease): void {
    const { turn_id } = turn
    // Left over by a process that died: what was shown stands, and is not added to. SPEC.md C14.
    const isLeftOver = turn.answer.chunks > 0 || turn.run >= MAX_RUNS
    if (turn.isStopWanted || isLeftOver) {
      this.#endWithoutModel(turn_id, turn.isStopWanted ? 'stopped' : 'interrupted', lease.token).then(
        () => this.#finished(turn_id),
        (error: unknown) => {
          this.#options.logger.error({ err: error, channel: this.key }, 'a left-over turn could not be ended')
          this.#finished(turn_id)
        },
      )
      return
    }
    const origin = this.#origins.get(turn_id)
    running.turn = this.#options.runTurn({
      turn_id,
      run: turn.run + 1,
      isAsked: turn.isAsked,
      model: this.#options.model,
      fairKey: origin?.fairKey ?? this.key,
      request: () => ({
        messages: contextOf(this.#state, turn_id, this.#options.systemPrompt, this.#options.contextMessages),
        turn_id,
        channel: this.key,
        ...(origin !== undefined && { principal: origin.principal }),
        ...(origin?.metadata !== undefined && { metadata: origin.metadata }),
      }),
      append: (entry, producer, sequence) => this.append(entry, producer, sequence, lease.token),
      onPosition: (position) => this.signal({ type: 'queued', turn_id, position }),
      onEnded: () => this.#finished(turn_id),
      onUnsaved: () => this.#tellAll('storage', turn_id),
    })
  }

  #finished(turn_id: string): void {
    if (this.#running?.turn_id !== turn_id) return
    this.#running.lease?.release()
    this.#running = undefined
    this.#origins.delete(turn_id)
    this.#advance()
    if (!this.isBusy()) this.#options.onIdle(this)
  }

  async #endWithoutModel(turn_id: string, outcome: 'stopped' | 'interrupted', fence?: number): Promise<void> {
    const words = countWords(this.#state.open.get(turn_id)?.answer.text ?? '')
    const error = outcome === 'interrupted' ? outcome : undefined
    const append: AppendOfTurn = (entry, producer, sequence) => this.append(entry, producer, sequence, fence)
    await appendEnd(append, { turn_id, outcome, error, words })
  }

  #tellAll(code: ErrorCode, turn_id: string): void {
    const text = encode(errorFrame(code, { turn_id }))
    for (const member of this.members) member.answer(text)
  }
}

/** A running turn, for a joiner: that the model was asked, and what it has said. */
function* soFar(turn: OpenTurn, answer: OpenTurn['answer']): Generator<UnloggedFrame | Entry> {
  const { turn_id, regenerates } = turn
  yield { type: 'typing', turn_id, ...(regenerates !== undefined && { regenerates }) }
  yield* chunksOf('ai_reasoning_chunk', turn_id, answer.reasoning)
  yield* chunksOf('ai_stream_chunk', turn_id, answer.text)
}

function* concat<T>(...parts: Iterable<T>[]): Generator<T> {
  for (const part of parts) yield* part
}
