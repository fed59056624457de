import type { KeyedText } from './keyed-text.ts'

const KEY = 'statewire.outbox.'
let kept: readonly PageDraft[] | undefined

/** What the person wants said or done, until the server has it. */
export interface PageDraft {
  readonly id: string
  /** The message; undefined asks for a new answer to the last one. */
  readonly content?: string
  /** Why it was refused, in a sentence for people; it then waits for the person to send it again or drop it. */
  readonly refused?: string
}

/** The drafts that this tab still had when it was reloaded. */
export function draftsOf(storage: KeyedText, channel: string): readonly PageDraft[] {
  return readDrafts(storage.getItem(KEY + channel))
}

/** Puts the drafts away, so that a reload loses none; under the same ids, so that none is written twice. */
export function keepDrafts(storage: KeyedText, channel: string, outbox: readonly PageDraft[]): void {
  if (outbox === kept) return
  kept = outbox
  try {
    if (outbox.length === 0) storage.removeItem(KEY + channel)
    else storage.setItem(KEY + channel, JSON.stringify(outbox.filter((draft) => draft.content !== undefined)))
  } catch {
    // Full, or switched off: the drafts are then kept by the open page alone.
  }
}

/** Reads what was put away with `JSON.stringify`, and leaves out what is not a message. */
export function readDrafts(text: string | null): readonly PageDraft[] {
  if (text === null) return []
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value.flatMap(readDraft) : []
  } catch {
    // Written by something else under our name: there is nothing of ours in it to keep.
    return []
  }
}

function readDraft(value: unknown): PageDraft[] {
  if (typeof value !== 'object' || value === null || !('id' in value) || !('content' in value)) return []
  const { id, content } = value
  return typeof id === 'string' && typeof content === 'string' ? [{ id, content }] : []
}
