import type { Outages } from '../failing.ts'
import type { LogRecord } from '../log/channel-log.ts'
import { encode, errorFrame } from '../protocol/codec.ts'
import type { Entry } from '../protocol/entry.ts'
import type { HistoryMessage, UnloggedFrame } from '../protocol/server-frame.ts'
import { Channel } from './channel.ts'
import type { ChannelParts } from './channel-parts.ts'
import { type Member, producerOf, type WritingFrame } from './member.ts'
import { newId } from './new-id.ts'
import { historyPages, type Snapshot } from './snapshot.ts'

/** What all rooms share. */
export interface RoomOptions extends ChannelParts {
  /** Messages that could not be written, of all channels together. */
  readonly writing: Outages
  /** Presence that could not be told, likewise. */
  readonly presence: Outages
  readonly historyMessages: number
  /** Nothing is under way any more; the channel may not be needed. */
  readonly onIdle: (channel: Channel) => void
}

/** A channel without a model: people only. SPEC.md R. */
export class RoomChannel extends Channel {
  readonly #options: RoomOptions
  #messages: HistoryMessage[] = []
  readonly #entered = new Set<Member>()
  #underWay = 0

  constructor(options: RoomOptions, key: string) {
    super(options, key)
    this.#options = options
  }

  protected override clear(): void {
    this.#messages = []
  }

  protected override fold({ entry }: LogRecord): void {
    if (entry.type !== 'message') return
    const { content, id, client_id } = entry
    this.#messages.push({ role: 'user', content, ...(id !== undefined && { id }), client_id })
    // Cut when twice as long as needed, so that a message costs no copy of the list.
    if (this.#messages.length > 2 * this.#options.historyMessages) this.#messages = this.#recent()
  }

  protected override after(): void {}

  protected override loaded(): void {}

  override async snapshot(): Promise<Snapshot> {
    const messages = this.#recent()
    const frames = messages.length === 0 ? [] : historyPages(messages, undefined, false)
    return { frames, offset: this.head, epoch: this.epoch }
  }

  override hasConversation(): boolean {
    return false
  }

  override post(frame: WritingFrame, member: Member): void {
    if (frame.type !== 'message') return
    const { content, id } = frame
    const { client_id } = member
    const entry: Entry = { type: 'message', content, ...(id !== undefined && { id }), client_id }
    this.#track(
      this.append(entry, producerOf(member), id ?? `-${newId()}`)
        .then(({ repeated }) => (repeated ? this.answerRepeat(member, id) : undefined))
        .then(() => this.#options.writing.worked())
        .catch((error: unknown) => {
          this.#options.writing.failed(error, { channel: this.key })
          member.answer(encode(errorFrame('storage', { id })))
        }),
    )
  }

  /** Keeps the room until something has settled, which never rejects. */
  #track(work: Promise<unknown>): void {
    this.#underWay++
    void work.finally(() => {
      this.#underWay--
      if (!this.isBusy()) this.#options.onIdle(this)
    })
  }

  override enter(member: Member): void {
    const { client_id } = member
    this.#entered.add(member)
    this.#track(
      this.#options.coordination
        .enter(this.key, client_id)
        .then(() => {
          this.#options.presence.worked()
          this.#tellJoined(client_id, member)
        })
        .catch((error: unknown) => this.#presenceFailed(error)),
    )
  }

  override leave(member: Member): void {
    super.leave(member)
    if (!this.#entered.delete(member)) return
    const { client_id } = member
    // Counted as under way: a room that was forgotten meanwhile could not tell the other processes.
    this.#track(
      this.#options.coordination
        .leave(this.key, client_id)
        .then((isNews) => {
          if (isNews) this.#tellLeft(client_id)
        })
        .catch((error: unknown) => this.#presenceFailed(error)),
    )
  }

  /** What became of a member of any process, found by this one. */
  presenceChanged(client_id: string, change: 'left' | 'joined'): void {
    if (change === 'left') this.#tellLeft(client_id)
    else
      this.#tellJoined(
        client_id,
        [...this.#entered].find((member) => member.client_id === client_id),
      )
  }

  /** Who is there, after that had been lost: each process tells its own members. */
  presenceRefilled(members: readonly string[]): void {
    this.signalHere(presenceFrame(members))
  }

  #tellJoined(client_id: string, except: Member | undefined): void {
    this.signal({ type: 'user_joined', client_id, content: `user ${client_id} joined the room` }, except)
  }

  #tellLeft(client_id: string): void {
    this.signal({ type: 'user_left', client_id, content: `user ${client_id} left the room` })
  }

  override tellPresence(member: Member): void {
    this.#options.coordination
      .members(this.key)
      .then((members) => {
        if (!this.live.has(member)) return
        member.signal(encode(presenceFrame(members)))
      })
      .catch((error: unknown) => this.#presenceFailed(error))
  }

  override stop(): void {}

  #presenceFailed(error: unknown): void {
    this.#options.presence.failed(error, { channel: this.key })
  }

  override isBusy(): boolean {
    return this.#underWay > 0
  }

  #recent(): HistoryMessage[] {
    return this.#messages.slice(-this.#options.historyMessages)
  }
}

function presenceFrame(members: readonly string[]): UnloggedFrame {
  return { type: 'presence', members: members.map((client_id) => ({ client_id })) }
}
