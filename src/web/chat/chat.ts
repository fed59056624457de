import type { Clock, Timer } from '../../actor/clock.ts'
import { type ConnectionParts, createConnection, type Link } from './connection.ts'
import {
  applyFrame,
  type Conversation,
  canRegenerate,
  emptyConversation,
  runningAnswer,
  type TurnState,
  turnState,
} from './conversation.ts'
import {
  type Draft,
  draftBytes,
  draftFrame,
  nextDraft,
  type Outbox,
  withoutAcknowledged,
  withRefused,
} from './outbox.ts'
import type { ChatFrame } from './read-frame.ts'

/** Everything that the page shows of a chat, at one moment. */
export interface ChatView {
  readonly link: Link
  readonly conversation: Conversation
  readonly turn: TurnState
  readonly outbox: Outbox
  /** Until when the connection is `limited`, in the clock's ms. */
  readonly limitedUntil?: number
  /** Whether the server has said that it goes away. */
  readonly draining: boolean
}

/** What a chat is made of. `heldBack` are the drafts that an earlier page of the same tab left behind. */
export interface ChatParts extends Pick<ConnectionParts, 'url' | 'openSocket' | 'random'> {
  readonly clock: Clock
  newId(): string
  readonly heldBack: Outbox
  onChange(view: ChatView): void
  /** An error that belongs to no message, in a sentence for people. */
  onNotice(sentence: string): void
}

/** One channel as a person uses it. */
export interface Chat {
  view(): ChatView
  /** Takes a message for sending, now or as soon as the connection is back. Answers by how many bytes it is too long; then it is not taken. */
  send(content: string): number
  /** Ends a waiting turn by its id, or else what runs. */
  stop(turnId?: string): void
  regenerate(): void
  /** Sends a refused draft again. */
  retry(id: string): void
  /** Drops a refused draft. */
  discard(id: string): void
  /** These three are the connection's: the network may be back, a person asks for it, the network is gone. */
  wake(): void
  reconnect(): void
  offline(): void
  close(): void
}

/** Joins a channel, and keeps the person's messages until the server has them. */
export function createChat(parts: ChatParts): Chat {
  let conversation = emptyConversation
  let outbox = parts.heldBack
  let maxMessageBytes = Number.POSITIVE_INFINITY
  let limitedUntil: number | undefined
  let limitTimer: Timer | undefined
  let draining = false
  let underWay: string | undefined
  // Its first link comes out of createConnection itself, before there is anything to show.
  let ready = false

  const connection = createConnection({
    ...parts,
    position: () =>
      conversation.epoch === undefined ? undefined : { epoch: conversation.epoch, offset: conversation.offset },
    onFrame: receive,
    onLink(link) {
      if (link.at !== 'open') underWay = undefined
      changed()
    },
  })

  function receive(frame: ChatFrame): void {
    conversation = applyFrame(conversation, frame)
    outbox = withoutAcknowledged(outbox, frame)
    switch (frame.type) {
      case 'welcome':
        maxMessageBytes = frame.limits.max_message_bytes
        draining = false
        // A fresh log under a live connection may have lost what was under way: C7 makes sending it again safe.
        underWay = undefined
        break
      case 'draining':
        draining = true
        break
      case 'error':
        refused(frame)
        break
    }
    flush()
    changed()
  }

  function refused(error: Extract<ChatFrame, { type: 'error' }>): void {
    const draft = outbox.find((each) => each.id === error.id)
    if (draft !== undefined) underWay = undefined
    if (error.code === 'draining') draining = true
    if (error.code === 'rate_limited') limit(error.retry_after_ms ?? 1000)
    // Both pass by themselves, and the draft goes out again.
    if (draft !== undefined && (error.code === 'draining' || error.code === 'rate_limited')) return
    if (draft?.content !== undefined) {
      outbox = withRefused(outbox, draft.id, error.content)
      return
    }
    outbox = outbox.filter((each) => each.id !== error.id)
    if (error.code !== 'rate_limited') parts.onNotice(error.content)
  }

  function limit(delay: number): void {
    if (limitTimer !== undefined) parts.clock.clearTimeout(limitTimer)
    limitedUntil = parts.clock.now() + delay
    limitTimer = parts.clock.setTimeout(() => {
      limitedUntil = undefined
      flush()
      changed()
    }, delay)
  }

  function flush(): void {
    if (draining || limitedUntil !== undefined) return
    const draft = nextDraft(outbox)
    if (draft === undefined || draft.id === underWay) return
    if (excess(draft) > 0) {
      outbox = withRefused(outbox, draft.id, 'This message is too long for the server.')
      flush()
      return
    }
    if (connection.send(draftFrame(draft))) underWay = draft.id
  }

  function excess(draft: Draft): number {
    return Math.max(0, draftBytes(draft) - maxMessageBytes)
  }

  function take(draft: Draft): void {
    outbox = [...outbox, draft]
    flush()
    changed()
  }

  function view(): ChatView {
    const limited = limitedUntil === undefined ? {} : { limitedUntil }
    return { link: connection.link(), conversation, turn: turnState(conversation), outbox, draining, ...limited }
  }

  function changed(): void {
    if (ready) parts.onChange(view())
  }

  ready = true
  changed()

  return {
    view,
    send(content) {
      const draft = { id: parts.newId(), content }
      const over = excess(draft)
      if (over === 0) take(draft)
      return over
    },
    stop(turnId) {
      const turn = turnId ?? runningAnswer(conversation)?.turnId
      connection.send(JSON.stringify(turn === undefined ? { type: 'stop' } : { type: 'stop', turn_id: turn }))
    },
    regenerate() {
      const asked = outbox.some((draft) => draft.content === undefined)
      if (!asked && canRegenerate(conversation)) take({ id: parts.newId() })
    },
    retry(id) {
      outbox = withRefused(outbox, id)
      flush()
      changed()
    },
    discard(id) {
      outbox = outbox.filter((draft) => draft.id !== id)
      flush()
      changed()
    },
    wake: connection.wake,
    reconnect: connection.reconnect,
    offline: connection.offline,
    close() {
      if (limitTimer !== undefined) parts.clock.clearTimeout(limitTimer)
      connection.close()
    },
  }
}
