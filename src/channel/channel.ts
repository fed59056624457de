import type { Clock, Timer } from '../actor/clock.ts'
import type { Coordination, Signals } from '../coordination/coordination.ts'
import type { AppendCondition, ChannelLog, Follower, Head, LogRecord, ReadResult } from '../log/channel-log.ts'
import { encode, encodeEntry } from '../protocol/codec.ts'
import { type Entry, isHidden } from '../protocol/entry.ts'
import type { Position } from '../protocol/position.ts'
import type { UnloggedFrame } from '../protocol/server-frame.ts'
import { createAwaitedOffsets } from './awaited-offsets.ts'
import { type ChannelParts, LOAD_PAGE, PAGE } from './channel-parts.ts'
import { headOf } from './keep-up.ts'
import { type Member, producerOf, type WritingFrame } from './member.ts'
import { newId } from './new-id.ts'
import type { Snapshot } from './snapshot.ts'

/** How long a log that could not be read anew is left alone, in ms. */
const REREAD_MS = 1_000

/**
 * An ordered log with members. It follows its log and hands on what comes, so that what this process appends and what
 * others append takes the same way. Subclasses fold the entries and decide what is appended.
 */
export abstract class Channel implements Follower {
  /** `<route>/<name>`: the name of the log. */
  readonly key: string
  epoch: string = newId()
  /** The offset of the last entry that was folded and delivered. */
  head = 0
  readonly members: Set<Member> = new Set()
  /** Members at the head: they get entries as they come. The others read the log. */
  readonly live: Set<Member> = new Set()
  protected readonly log: ChannelLog
  readonly #coordination: Coordination
  readonly #clock: Clock
  #signals: Signals | undefined
  #unfollow: (() => void) | undefined
  /** Records that came while the log was being read. */
  #early: LogRecord[] | undefined
  #loads = 0
  /** Whether it has been read to its head once. */
  #isRead = false
  #reading: Promise<void> = Promise.resolve()
  #again: Timer | undefined
  readonly #awaited = createAwaitedOffsets()

  constructor({ log, coordination, clock }: ChannelParts, key: string) {
    this.log = log
    this.#coordination = coordination
    this.#clock = clock
    this.key = key
  }

  /** Forgets what was folded. */
  protected abstract clear(): void
  /** Folds one entry. Told in order, each once, before it is delivered. */
  protected abstract fold(record: LogRecord): void
  /** An entry was folded and delivered; not called while loading. */
  protected abstract after(record: LogRecord): void
  /** The log has been read to its head. */
  protected abstract loaded(): void
  /** What a joiner gets who holds nothing. `conversation_id` asks for the history of an older conversation. Rejects with LogError. */
  abstract snapshot(conversation_id: string | undefined): Promise<Snapshot>
  /** Whether `?conversation_id=` may name this one. */
  abstract hasConversation(conversation_id: string): boolean
  abstract post(frame: WritingFrame, member: Member): void
  /** Something is under way that must not be forgotten, members or not. */
  abstract isBusy(): boolean

  /**
   * Follows the log and reads it to its head. `isNew`: nothing can be in it. `proposed` is the epoch of a log without
   * entries. Rejects with LogError.
   */
  async load(isNew: boolean, proposed: string = this.epoch): Promise<void> {
    const load = ++this.#loads
    this.#unfollow ??= this.log.follow(this.key, this)
    this.#signals ??= this.#coordination.listen(this.key, (text) => this.#signalText(text))
    if (isNew) return this.#loaded()
    this.#early = []
    const head = await this.log.head(this.key)
    if (load !== this.#loads) return this.#overtaken()
    const epoch = head.epoch ?? proposed
    // Read anew, it is read to its end before anything changes: until then, turn and members go on by what was known.
    const records: LogRecord[] = []
    if (!this.#isRead) this.#beginAt(epoch)
    let offset = 0
    for (let more = head.offset > 0; more; ) {
      const page = await this.log.read(this.key, { epoch, offset }, LOAD_PAGE)
      if (load !== this.#loads) return this.#overtaken()
      if (!page.honoured || page.head.epoch !== epoch) return this.load(false, proposed)
      if (this.#isRead) records.push(...page.records)
      else for (const record of page.records) this.#take(record)
      // What has been taken out of its end, such as a damaged record by an operator, is passed over.
      offset = page.records.at(-1)?.offset ?? page.head.offset
      more = page.records.length > 0 && offset < page.head.offset
    }
    if (this.#isRead) this.#beginAt(epoch)
    for (const record of records) this.#take(record)
    if (offset > this.head) this.#reach(offset)
    const early = this.#early
    this.#early = undefined
    for (const record of early) this.record(record)
    this.#loaded()
  }

  /** The log was reset while it was read: whoever waits, such as a joiner, waits for the reading that follows. */
  #overtaken(): Promise<void> | undefined {
    return this.#unfollow && this.whenRead()
  }

  #beginAt(epoch: string): void {
    this.#awaited.end()
    this.live.clear()
    this.clear()
    this.epoch = epoch
    this.head = 0
  }

  #loaded(): void {
    this.#isRead = true
    this.loaded()
  }

  /** Whether the log is being read anew: what was folded is about to be replaced. */
  get isReading(): boolean {
    return this.#early !== undefined
  }

  /** Resolves when it is not: nothing can be judged by what is folded before that. Rejects with LogError. */
  async whenRead(): Promise<void> {
    for (let reading: Promise<void> | undefined; reading !== this.#reading; ) {
      reading = this.#reading
      await reading
    }
  }

  /** Resolves when all that the log has now is folded. Rejects with LogError. */
  async readToHead(): Promise<void> {
    const offset = await headOf(this, this.log)
    if (offset > this.head) await this.#awaited.until(offset)
  }

  unload(): void {
    this.#loads++
    this.#unfollow?.()
    this.#unfollow = undefined
    this.#signals?.end()
    this.#signals = undefined
    if (this.#again !== undefined) this.#clock.clearTimeout(this.#again)
  }

  record(record: LogRecord): void {
    if (this.#early !== undefined) return void this.#early.push(record)
    if (record.offset <= this.head) return
    this.#take(record)
    if (!isHidden(record.entry) && this.live.size > 0) {
      const text = encodeEntry(record.text, record.offset)
      for (const member of this.live) member.deliver(record.offset, text)
    }
    this.after(record)
  }

  reset(head: Head): void {
    const reading = this.load(false, head.epoch ?? newId())
    this.#reading = reading
    reading.then(
      () => {
        if (reading === this.#reading) for (const member of this.members) member.logIsReset()
      },
      (error: unknown) => {
        if (reading !== this.#reading) return
        // The members' connections are closed, and come back; a channel that is kept because a turn runs in it tries again.
        for (const member of this.members) member.fail(error)
        if (this.#unfollow !== undefined) this.#again = this.#clock.setTimeout(() => this.reset(head), REREAD_MS)
      },
    )
  }

  #take(record: LogRecord): void {
    this.fold(record)
    this.#reach(record.offset)
  }

  #reach(offset: number): void {
    this.head = offset
    this.#awaited.reached(offset)
  }

  /** Rejects with LogError; a plugged-in log that throws instead is taken to reject. */
  async append(entry: Entry, producer: string, sequence: number | string, condition: AppendCondition = {}) {
    const { head: seenHead, epoch } = this
    return this.log.append(this.key, entry, { producer, sequence, ...condition, seenHead, epoch })
  }

  /** Answers the frame that was stored under a client's id the first time; false where there is none. SPEC.md C7. */
  protected async answerRepeat(member: Member, id: string | undefined): Promise<boolean> {
    if (id === undefined) return false
    const stored = await this.log.find(this.key, producerOf(member), id)
    if (stored === undefined) return false
    member.acknowledge({ epoch: this.epoch, offset: stored.offset }, encodeEntry(stored.text, stored.offset))
    return true
  }

  /** Whether a position can be resumed from, and what follows it at first. Rejects with LogError. */
  read(after: Position): Promise<ReadResult> {
    return this.log.read(this.key, after, PAGE)
  }

  /** Sends a signal to everybody who is live, on every process, but for one. */
  signal(frame: UnloggedFrame, except?: Member): void {
    const text = encode(frame)
    this.#signalText(text, except)
    this.signalOthers(text)
  }

  /** Sends a signal to the live members of the other processes. */
  protected signalOthers(text: string): void {
    this.#signals?.send(text)
  }

  /** Sends a signal to the members of this process: where each process says the same to its own. */
  protected signalHere(frame: UnloggedFrame): void {
    if (this.live.size > 0) this.#signalText(encode(frame))
  }

  #signalText(text: string, except?: Member): void {
    for (const member of this.live) if (member !== except) member.signal(text)
  }

  /** Claims the channel for a member that is being accepted: it is not forgotten from now on. */
  join(member: Member): void {
    this.members.add(member)
  }

  /** The member's connection is open. */
  abstract enter(member: Member): void

  /** The member's connection has ended; also told of one that never entered. */
  leave(member: Member): void {
    this.live.delete(member)
    this.members.delete(member)
  }

  /** Tells a live member who is here, where that is told at all. */
  abstract tellPresence(member: Member): void

  /** Ends a turn; without `turn_id` the running one. Does nothing where there are no turns. */
  abstract stop(turn_id: string | undefined): void
}
