import type { ClientClock } from './client-clock.ts'
import type { FrameOf, ServerFrame } from './frames.ts'
import { fault } from './read-frame.ts'

/** A frame that writes to the channel, until the server has acknowledged it. `id` is the same on every attempt, so that the server writes it once. SPEC.md C7. */
export type Draft =
  | { readonly type: 'user_message' | 'message'; readonly id: string; readonly content: string }
  | { readonly type: 'regenerate' | 'conversation_end'; readonly id: string }
  | { readonly type: 'conversation_start'; readonly id: string; readonly conversation_id: string | undefined }

/** The drafts of one channel, in order, with the rules for when the next one goes out. Only the first is ever under way, so that their order holds. */
export interface Outbox {
  drafts(): readonly Draft[]
  /** Whether the server has said that it goes away: nothing more goes out over this connection. */
  isDraining(): boolean
  /** Until when nothing goes out because it was too much, in the clock's ms. */
  limitedUntil(): number | undefined
  add(draft: Draft): void
  /** Takes back what was never sent. Answers whether it could. */
  discard(id: string): boolean
  /** What was under way over the connection may have been lost with it. */
  unlinked(): void
  receive(frame: ServerFrame): void
  /** Sends what may be sent now. */
  flush(): void
  close(): void
}

/** What an outbox needs. */
export interface OutboxParts {
  readonly clock: ClientClock
  send(draft: Draft): boolean
  /** A draft was given up. */
  onRefused(id: string, error: FrameOf<'error'>): void
  /** Something is wrong with a draft, in the words in which a server would have said it: to be received like its frames. */
  onFault(error: FrameOf<'error'>): void
  onChange(): void
}

/** See {@link Outbox}. */
export function createOutbox({ clock, send, onRefused, onFault, onChange }: OutboxParts): Outbox {
  let drafts: readonly Draft[] = []
  /** Sent over this connection, and not answered. */
  let underWay: string | undefined
  /** Sent at least once, so that the server may have them. */
  const sent = new Set<string>()
  let maxBytes = Number.POSITIVE_INFINITY
  let isDraining = false
  let limitedUntil: number | undefined
  let cancelTimer: (() => void) | undefined

  function remove(id: string): void {
    if (underWay === id) underWay = undefined
    // The same array as long as nothing has changed, for those who compare.
    if (drafts.some((draft) => draft.id === id)) drafts = drafts.filter((draft) => draft.id !== id)
    sent.delete(id)
  }

  function refused(error: FrameOf<'error'>): void {
    if (error.code === 'draining') isDraining = true
    if (error.retry_after_ms !== undefined) limit(error.retry_after_ms)
    const draft = drafts.find((each) => each.id === error.id)
    if (draft === undefined) return
    underWay = undefined
    // Both pass by themselves, and the draft goes out again.
    if (error.code === 'draining' || error.retry_after_ms !== undefined) return
    remove(draft.id)
    onRefused(draft.id, error)
  }

  function limit(delay: number): void {
    cancelTimer?.()
    limitedUntil = clock.now() + delay
    cancelTimer = clock.after(delay, () => {
      limitedUntil = undefined
      flush()
      onChange()
    })
  }

  function flush(): void {
    const [draft] = drafts
    if (draft === undefined || draft.id === underWay || isDraining || limitedUntil !== undefined) return
    if (wireBytes(draft) > maxBytes) onFault(fault('too_long', 'This message is too long for the server.', draft.id))
    else if (send(draft)) {
      underWay = draft.id
      sent.add(draft.id)
    }
  }

  return {
    drafts: () => drafts,
    isDraining: () => isDraining,
    limitedUntil: () => limitedUntil,
    flush,
    add(draft) {
      drafts = [...drafts, draft]
      flush()
    },
    discard(id) {
      const isUnsent = !sent.has(id) && drafts.some((draft) => draft.id === id)
      if (isUnsent) remove(id)
      return isUnsent
    },
    unlinked() {
      underWay = undefined
      isDraining = false
    },
    receive(frame) {
      if (frame.type === 'welcome') {
        maxBytes = frame.limits.max_message_bytes
        // A fresh log under a live connection may have lost what was under way: C7 makes sending it again safe.
        underWay = undefined
      }
      if (frame.type === 'draining') isDraining = true
      if (frame.type === 'error') refused(frame)
      for (const { id } of acknowledged(frame)) if (id !== undefined) remove(id)
    },
    close() {
      cancelTimer?.()
    },
  }
}

/** What a frame acknowledges: ids of drafts, each with the turn that it became, if it did. */
export function acknowledged(frame: ServerFrame): readonly { id?: string | undefined; turn_id?: string | undefined }[] {
  if (frame.type === 'history') return frame.messages
  return 'id' in frame && frame.type !== 'error' ? [frame] : []
}

/** How many bytes a frame takes on the wire, to be held against `limits.max_message_bytes`. */
export function wireBytes(frame: object): number {
  return new TextEncoder().encode(JSON.stringify(frame)).length
}
