import type { KeyedText } from './keyed-text.ts'
import { type Outbox, readOutbox } from './outbox.ts'

const KEY = 'statewire.outbox.'
let kept: Outbox | undefined

/** The drafts that this tab still had when it was reloaded. */
export function draftsOf(storage: KeyedText, channel: string): Outbox {
  return readOutbox(storage.getItem(KEY + channel))
}

/** Puts the drafts away, so that a reload loses none; under the same ids, so that none is written twice. */
export function keepDrafts(storage: KeyedText, channel: string, outbox: Outbox): void {
  if (outbox === kept) return
  kept = outbox
  try {
    if (outbox.length === 0) storage.removeItem(KEY + channel)
    else storage.setItem(KEY + channel, JSON.stringify(outbox.filter((draft) => draft.content !== undefined)))
  } catch {
    // Full, or switched off: the drafts are then kept by the open page alone.
  }
}
