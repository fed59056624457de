import type { ChatFrame } from './read-frame.ts'

/** What the user wants written to the channel, until the server has acknowledged it. */
export interface Draft {
  /** The same on every attempt, so that the server writes it once. SPEC.md C7. */
  readonly id: string
  /** The message; undefined asks for a new answer to the last one. */
  readonly content?: string
  /** Why it was refused, in a sentence for people; it then waits for the user to send it again or drop it. */
  readonly refused?: string
}

/** The drafts of one chat, in order. Only the first that is not refused is ever under way, so that their order holds. */
export type Outbox = readonly Draft[]

/** The draft whose turn it is. */
export function nextDraft(outbox: Outbox): Draft | undefined {
  return outbox.find((draft) => draft.refused === undefined)
}

/** The client frame that a draft becomes. */
export function draftFrame(draft: Draft): string {
  return draft.content === undefined
    ? JSON.stringify({ type: 'regenerate', id: draft.id })
    : JSON.stringify({ type: 'user_message', id: draft.id, content: draft.content })
}

/** How many bytes a draft takes on the wire, to be held against `limits.max_message_bytes`. */
export function draftBytes(draft: Draft): number {
  return new TextEncoder().encode(draftFrame(draft)).length
}

/** What is left when a frame has come: what it acknowledges goes. */
export function withoutAcknowledged(outbox: Outbox, frame: ChatFrame): Outbox {
  const ids = acknowledgedIds(frame)
  return outbox.some((draft) => ids.includes(draft.id)) ? outbox.filter((draft) => !ids.includes(draft.id)) : outbox
}

/** The outbox with one draft marked as refused, or, without a sentence, free to go again. */
export function withRefused(outbox: Outbox, id: string, refused?: string): Outbox {
  return outbox.map((draft) => {
    if (draft.id !== id) return draft
    const { refused: _, ...rest } = draft
    return refused === undefined ? rest : { ...rest, refused }
  })
}

/** Reads what was put away with `JSON.stringify`, and leaves out what is not a message. */
export function readOutbox(text: string | null): Outbox {
  if (text === null) return []
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value.flatMap(readDraft) : []
  } catch {
    // Written by something else under our name: there is nothing of ours in it to keep.
    return []
  }
}

function readDraft(value: unknown): Draft[] {
  if (typeof value !== 'object' || value === null || !('id' in value) || !('content' in value)) return []
  const { id, content } = value
  return typeof id === 'string' && typeof content === 'string' ? [{ id, content }] : []
}

function acknowledgedIds(frame: ChatFrame): readonly string[] {
  if (frame.type === 'history') return frame.messages.flatMap((message) => message.id ?? [])
  if (frame.type === 'user_message' || frame.type === 'typing') return frame.id === undefined ? [] : [frame.id]
  return []
}
