import type { Chat } from '../../client/chat.ts'
import type { Link } from '../../client/connection.ts'
import { type Conversation, canRegenerate, type TurnState } from '../../client/conversation.ts'
import { wireBytes } from '../../client/outbox.ts'
import type { PageDraft } from './kept-drafts.ts'

/** Everything that the page shows of a chat, at one moment. */
export interface ChatView {
  readonly link: Link
  /** Its `epoch` is undefined until the server has told what the channel holds. */
  readonly conversation: Pick<Conversation, 'items' | 'epoch'>
  readonly turn: TurnState
  /** What was refused, and then what the server has not acknowledged yet. */
  readonly outbox: readonly PageDraft[]
  /** Until when the connection is `limited`, as `performance.now()` counts. */
  readonly limitedUntil?: number
  /** Whether the server has said that it goes away. */
  readonly draining: boolean
}

/** What the page's chat is made of. `heldBack` are the drafts that an earlier page of the same tab left behind. */
export interface PageChatParts {
  readonly chat: Chat
  newId(): string
  readonly heldBack: readonly PageDraft[]
  onChange(view: ChatView): void
  /** An error that belongs to no message, in a sentence for people. */
  onNotice(sentence: string): void
}

/** One channel as a person uses it. */
export interface PageChat {
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
  reconnect(): void
  close(): void
}

/** A chat whose refused messages wait for the person to decide. */
export function createPageChat({ chat, newId, heldBack, onChange, onNotice }: PageChatParts): PageChat {
  const contents = new Map<string, string>()
  let refused: readonly PageDraft[] = []
  let drafts: readonly PageDraft[] = []
  let seen: unknown

  chat.on('error', (error) => {
    // A draft that is still in the outbox goes out again by itself.
    if (chat.outbox.some((draft) => draft.id === error.id)) return
    const { id, content: sentence } = error
    const content = id === undefined ? undefined : contents.get(id)
    if (id !== undefined && content !== undefined) setRefused([...refused, { id, content, refused: sentence }])
    else if (error.code !== 'rate_limited') onNotice(sentence)
  })
  chat.on('change', changed)
  for (const { id, content } of heldBack) if (content !== undefined) say(id, content)

  function say(id: string, content: string): void {
    contents.set(id, content)
    chat.send(content, { id })
  }

  function setRefused(next: readonly PageDraft[]): void {
    refused = next
    seen = undefined
  }

  /** The same array as long as nothing in it has changed. */
  function outbox(): readonly PageDraft[] {
    if (seen === chat.outbox) return drafts
    seen = chat.outbox
    drafts = [...refused, ...chat.outbox]
    for (const id of contents.keys()) if (!drafts.some((draft) => draft.id === id)) contents.delete(id)
    return drafts
  }

  function view(): ChatView {
    const { link, turn, history: items, position, limitedUntil, isDraining: draining } = chat
    const limited = limitedUntil === undefined ? {} : { limitedUntil }
    return { link, conversation: { items, epoch: position?.epoch }, turn, outbox: outbox(), draining, ...limited }
  }

  function changed(): void {
    onChange(view())
  }

  return {
    view,
    send(content) {
      const id = newId()
      const limit = chat.limits?.max_message_bytes ?? Number.POSITIVE_INFINITY
      const over = Math.max(0, wireBytes({ type: 'user_message', id, content }) - limit)
      if (over === 0) say(id, content)
      return over
    },
    stop: (turnId) => chat.stop(turnId),
    regenerate() {
      const asked = chat.outbox.some((draft) => draft.type === 'regenerate')
      if (!asked && canRegenerate({ items: chat.history })) chat.regenerate({ id: newId() })
    },
    retry(id) {
      const content = contents.get(id)
      setRefused(refused.filter((draft) => draft.id !== id))
      if (content !== undefined) say(id, content)
    },
    discard(id) {
      setRefused(refused.filter((draft) => draft.id !== id))
      changed()
    },
    reconnect: chat.reconnect,
    close: chat.close,
  }
}
