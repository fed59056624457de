import { LogError, type LogRecord, LogUnreachable } from '../log/channel-log.ts'
import { encode, errorFrame } from '../protocol/codec.ts'
import type { Entry } from '../protocol/entry.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import type { UnloggedFrame } from '../protocol/server-frame.ts'
import { Channel } from './channel.ts'
import type { ChatOptions } from './chat-options.ts'
import { planFrame } from './chat-plan.ts'
import { apply, type ChatState, createChatState, displayOf, firstOpen, historyOf } from './chat-state.ts'
import { type ChatOfStops, type ChatStops, createChatStops } from './chat-stops.ts'
import { type ChatOfTurns, ChatTurns } from './chat-turns.ts'
import { createFrameLine, type FrameLine } from './frame-line.ts'
import { type Member, producerOf, type WritingFrame } from './member.ts'
import { newId } from './new-id.ts'
import { readConversation } from './read-conversation.ts'
import { concat, historyPages, type Snapshot, soFar } from './snapshot.ts'

/** How often a frame is judged anew because another server's came first, before it is refused as not saved. */
const MAX_JUDGEMENTS = 50

/** A channel with a model: the judge of its turns. Their state is the fold of the log; only the running turn is beside it. */
export class ChatChannel extends Channel implements ChatOfTurns, ChatOfStops {
  readonly #options: ChatOptions
  readonly #turns: ChatTurns
  state: ChatState = createChatState()
  /** What was folded before the log was read anew. */
  #before: ChatState = this.state
  readonly #line: FrameLine
  readonly #stops: ChatStops
  /** The turn whose members have been told that it stands still, and that has not gone on since. */
  #stalled: string | undefined

  constructor(options: ChatOptions, key: string) {
    super(options, key)
    this.#options = options
    this.#turns = new ChatTurns(this, options)
    this.#line = createFrameLine({
      clock: options.clock,
      onIdle: () => this.turnsAreIdle(),
      onFault: (error) => options.logger.error({ err: error, channel: key }, 'a fault in a channel'),
    })
    this.#stops = createChatStops(this, this.#line, options.clock)
  }

  protected override clear(): void {
    this.#before = this.state
    this.state = createChatState()
  }

  protected override fold({ entry }: LogRecord): void {
    const before = displayOf(this.state)
    apply(this.state, entry, Math.max(this.#options.historyMessages, this.#options.contextMessages))
    const display = displayOf(this.state)
    if (display !== before) for (const member of this.members) member.turnIs(display)
  }

  protected override after({ entry }: LogRecord): void {
    if ('turn_id' in entry && entry.turn_id === this.#stalled) this.#stalled = undefined
    if (entry.type === 'user_message' || entry.type === 'typing') this.#turns.advance()
    if (entry.type === 'ai_stream_end') this.#turns.ended(entry.turn_id)
    if (entry.type === 'user_message' || entry.type === 'ai_stream_end') this.#tellPositions()
    if (entry.type === 'stop') this.#stopTurn(entry.turn_id)
  }

  protected override loaded(): void {
    const display = displayOf(this.state)
    for (const member of this.members) member.turnIs(display)
    this.#turns.forgetLost(this.#before)
    // The state may be as large as what has taken its place, and the turn have gone on in what was read.
    this.#before = this.state
    this.#stalled = undefined
    this.#turns.advance()
  }

  override enter(member: Member): void {
    member.turnIs(displayOf(this.state))
    const turn = firstOpen(this.state)
    if (turn === undefined || turn.turn_id !== this.#stalled) return
    // After this step: by then the chart is `open`.
    queueMicrotask(() => member.answer(stalledFrame(turn.turn_id)))
  }

  override tellPresence(): void {}

  override isBusy(): boolean {
    return this.isRunning || !this.#line.isIdle
  }

  override async snapshot(conversation_id: string | undefined): Promise<Snapshot> {
    const { historyMessages, isHistoryDoubled } = this.#options
    const isOlder = conversation_id !== undefined && conversation_id !== this.state.conversation_id
    const older =
      isOlder && this.hasConversation(conversation_id)
        ? await readConversation(this.log, this.key, this.epoch, conversation_id, historyMessages)
        : undefined
    // From here on nothing is awaited: messages, turn and offset are of one moment.
    const state = this.state
    const messages = older ?? historyOf(state, historyMessages)
    const history = historyPages(messages, older ? conversation_id : state.conversation_id, isHistoryDoubled)
    const turn = firstOpen(state)
    const running = turn?.isAsked === true ? soFar(turn, { ...turn.answer }) : []
    return { frames: concat<UnloggedFrame | Entry>(history, running), offset: this.head, epoch: this.epoch }
  }

  /** Whether the channel has ever had a conversation of this id. */
  override hasConversation(conversation_id: string): boolean {
    return this.state.conversations.has(conversation_id)
  }

  override post(frame: WritingFrame, member: Member): void {
    this.#stops.followed()
    const isTaken = this.#line.add({
      length: () => JSON.stringify(frame).length,
      run: async () => {
        await this.whenRead()
        await this.#write(frame, member)
      },
      failed: (error) => {
        this.#options.writing.failed(error, { channel: this.key })
        this.#refuse(member, 'storage', frame.id)
      },
    })
    if (!isTaken) this.#refuse(member, 'busy', frame.id)
  }

  override stop(turn_id: string | undefined): void {
    this.#stops.stop(turn_id)
  }

  /** A turn that runs here is stopped without the log: it is what the user wants most when things go wrong. SPEC.md C6. */
  stopIsUnsaved(turn_id: string, error: unknown): void {
    this.#options.writing.failed(error, { channel: this.key })
    this.#stopTurn(turn_id)
    const running = firstOpen(this.state)
    if (running === undefined) return
    if (error instanceof LogUnreachable) this.tellNotBegun(running.turn_id)
    else this.tellUnsaved(running.turn_id)
  }

  stopsAreSaved(): void {
    this.turnsAreIdle()
  }

  #stopTurn(turn_id: string): void {
    this.#turns.stop(turn_id).catch((error: unknown) => {
      this.#options.logger.error({ err: error, channel: this.key }, 'a waiting turn could not be stopped')
    })
  }

  override unload(): void {
    super.unload()
    this.#turns.close()
    this.#stops.end()
  }

  /** The server goes away: the running turn ends as interrupted. */
  interrupt(): void {
    this.#turns.interrupt()
  }

  /** A turn runs here, or is to be stopped and nobody else knows of it. */
  get isRunning(): boolean {
    return this.#turns.isRunning || this.#stops.isUnderWay
  }

  async #write(frame: WritingFrame, member: Member): Promise<void> {
    for (let judgements = 1; ; judgements++) {
      try {
        return await this.#writeAsJudged(frame, member)
      } catch (error) {
        const isStale = error instanceof LogError && error.code === 'stale'
        if (!isStale || judgements === MAX_JUDGEMENTS) throw error
        await this.whenRead()
      }
    }
  }

  async #writeAsJudged(frame: WritingFrame, member: Member): Promise<void> {
    const plan = planFrame(frame, this.state, member, this.#options.turnQueue)
    if ('refused' in plan) {
      if (!(await this.answerRepeat(member, frame.id))) this.#refuse(member, plan.refused, frame.id)
      return
    }
    const { entry, turn_id } = plan
    if (turn_id !== undefined) {
      const metadata = frame.type === 'user_message' ? frame.metadata : undefined
      this.#turns.remember(turn_id, { principal: member.principal.id, metadata })
    }
    try {
      const { repeated } = await this.append(entry, producerOf(member), frame.id ?? `-${newId()}`, {
        judgedAt: this.head,
      })
      this.#options.writing.worked()
      if (!repeated) return
    } catch (error) {
      if (turn_id !== undefined) this.#turns.forget(turn_id)
      throw error
    }
    if (turn_id !== undefined) this.#turns.forget(turn_id)
    await this.answerRepeat(member, frame.id)
  }

  /** Tells the turns behind the running one their places. SPEC.md C12. */
  #tellPositions(): void {
    let position = 0
    for (const turn_id of this.state.open.keys()) {
      if (position > 0) this.signalHere({ type: 'queued', turn_id, position })
      position++
    }
  }

  #refuse(member: Member, code: ErrorCode, id: string | undefined): void {
    member.answer(encode(errorFrame(code, { id })))
  }

  tellPosition(turn_id: string, position: number): void {
    this.signal({ type: 'queued', turn_id, position })
  }

  /** A turn cannot go on. Where the log cannot be reached, each server has told its own. SPEC.md C18. */
  tellUnsaved(turn_id: string): void {
    // One that went with its log is nothing to anybody any more.
    if (this.#stalled === turn_id || !this.state.open.has(turn_id)) return
    this.signalOthers(this.#tellStalled(turn_id))
  }

  tellNotBegun(turn_id: string): void {
    if (this.#stalled !== turn_id && this.state.open.has(turn_id)) this.#tellStalled(turn_id)
  }

  unreachable(): void {
    const turn = firstOpen(this.state)
    if (turn !== undefined) this.#tellStalled(turn.turn_id)
  }

  #tellStalled(turn_id: string): string {
    this.#stalled = turn_id
    const text = stalledFrame(turn_id)
    for (const member of this.members) member.answer(text)
    return text
  }

  turnsAreIdle(): void {
    if (!this.isBusy()) this.#options.onIdle(this)
  }
}

function stalledFrame(turn_id: string): string {
  return encode(errorFrame('stalled', { turn_id }))
}
