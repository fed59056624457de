import type { Position } from '../protocol/position.ts'
import type { Chat, ChatEvents } from './chat.ts'
import { ChatError } from './chat-error.ts'
import { type ConnectionParts, createConnection, type Link } from './connection.ts'
import { applyFrame, type Conversation, emptyConversation, isShown, runningAnswer, turnState } from './conversation.ts'
import { createEvents } from './events.ts'
import type { FrameOf, ServerFrame } from './frames.ts'
import { createOutbox, type Draft } from './outbox.ts'
import { createRequests, type Waiting } from './requests.ts'
import { createTurn, type Turn } from './turn.ts'

/** What a chat is made of. */
export interface ChatParts extends Omit<ConnectionParts, 'position' | 'onFrame' | 'onLink'> {
  newId(): string
  /** What is held already, from an earlier run. */
  readonly position?: Position
  /** `close()` was called. */
  onClose?(): void
}

/** Joins a channel and stays with it. */
export function createChat(parts: ChatParts): Chat {
  const events = createEvents<ChatEvents>()
  let conversation: Conversation = { ...emptyConversation, ...parts.position }
  let welcome: FrameOf<'welcome'> | undefined
  let isClosed = false
  // Its first link comes out of createConnection itself, when nobody listens yet.
  let isReady = false

  const connection = createConnection({
    ...parts,
    position: () => positionOf(conversation),
    onFrame: receive,
    onLink(link) {
      if (isReady) linked(link)
    },
  })
  isReady = true
  const requests = createRequests(connection.send)
  const outbox = createOutbox({
    clock: parts.clock,
    send: connection.send,
    onRefused: (id, { code, content }) => requests.fail(id, new ChatError(code, content)),
    onFault: receive,
    onChange: changed,
  })

  function changed(): void {
    events.emit('change', undefined)
  }

  function linked(link: Link): void {
    if (link.at !== 'open') outbox.unlinked()
    if (link.at === 'closed') requests.failAll(closed())
    events.emit('state', link)
    changed()
  }

  function receive(frame: ServerFrame): void {
    const isNews = !isShown(conversation, frame)
    conversation = applyFrame(conversation, frame)
    if (frame.type === 'welcome') welcome = frame
    outbox.receive(frame)
    requests.receive(frame, conversation)
    if (isNews) events.emit(frame.type, frame)
    outbox.flush()
    changed()
  }

  function take(draft: Draft, waiting: Waiting): void {
    if (isClosed) {
      waiting.fail(closed())
      return
    }
    requests.add(draft.id, waiting)
    outbox.add(draft)
    changed()
  }

  function takeTurn(draft: Draft, stopOnBreak = false): Turn {
    const { id } = draft
    const live = createTurn(id, stopOnBreak, () => {
      if (!outbox.discard(id)) return requests.stop(id)
      live.settle({ outcome: 'stopped', text: '', reasoning: '' })
      changed()
    })
    take(draft, { live, stored() {}, fail: live.settle })
    return live.turn
  }

  function takePromise(draft: Draft): Promise<void> {
    const promise = new Promise<void>((stored, fail) => take(draft, { stored, fail }))
    // Whoever does not look here has the `error` event.
    promise.catch(() => undefined)
    return promise
  }

  return {
    get state() {
      return connection.link().at
    },
    get link() {
      return connection.link()
    },
    get channel() {
      return welcome?.channel
    },
    get limits() {
      return welcome?.limits
    },
    get position() {
      return positionOf(conversation)
    },
    get history() {
      return conversation.items
    },
    get messages() {
      return conversation.messages
    },
    get turn() {
      return turnState(conversation)
    },
    get outbox() {
      return outbox.drafts()
    },
    get isDraining() {
      return outbox.isDraining()
    },
    get limitedUntil() {
      return outbox.limitedUntil()
    },
    on: events.on,
    send: (content, { id = parts.newId(), stopOnBreak } = {}) =>
      takeTurn({ type: 'user_message', id, content }, stopOnBreak),
    regenerate: ({ id = parts.newId(), stopOnBreak } = {}) => takeTurn({ type: 'regenerate', id }, stopOnBreak),
    stop(turnId = runningAnswer(conversation)?.turnId) {
      if (turnId === undefined) connection.send({ type: 'stop' })
      else requests.stopTurn(turnId)
    },
    message: (content, { id = parts.newId() } = {}) => takePromise({ type: 'message', id, content }),
    startConversation: ({ id = parts.newId(), conversationId } = {}) =>
      takePromise({ type: 'conversation_start', id, conversation_id: conversationId }),
    endConversation: ({ id = parts.newId() } = {}) => takePromise({ type: 'conversation_end', id }),
    typing: () => void connection.send({ type: 'typing' }),
    wake: connection.wake,
    offline: connection.offline,
    reconnect: connection.reconnect,
    close() {
      isClosed = true
      outbox.close()
      requests.failAll(closed())
      connection.close()
      parts.onClose?.()
    },
  }
}

function positionOf({ epoch, offset }: Conversation): Position | undefined {
  return epoch === undefined ? undefined : { epoch, offset }
}

function closed(): ChatError {
  return new ChatError('closed', 'The connection has ended.')
}
