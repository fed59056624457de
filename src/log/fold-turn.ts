import type { Entry, EntryOf } from '../protocol/entry.ts'

/** An entry where it stands. */
export interface PlacedEntry {
  readonly offset: number
  readonly entry: Entry
}

/** How one ended turn is folded: what is dropped, and what stands at `last` from then on. SPEC.md G7. */
export interface FoldedTurn {
  readonly first: number
  readonly last: number
  /** The offsets of the chunks before the last one. */
  readonly dropped: readonly number[]
  readonly message: EntryOf<'ai_message'>
}

/**
 * Reads a turn backwards from its terminal entry and answers how to fold it; undefined where it has no chunks. What
 * stands between its chunks (messages that wait, their turns stopped while waiting) is stepped over.
 */
export function foldTurn(newestFirst: Iterable<PlacedEntry>): FoldedTurn | undefined {
  const offsets: number[] = []
  const content: string[] = []
  const reasoning: string[] = []
  let turnId: string | undefined
  for (const { offset, entry } of newestFirst) {
    if (turnId === undefined) {
      if (entry.type !== 'ai_stream_end') return undefined
      turnId = entry.turn_id
    } else if (!('turn_id' in entry) || entry.turn_id !== turnId) {
    } else if (entry.type === 'ai_stream_chunk' || entry.type === 'ai_reasoning_chunk') {
      offsets.push(offset)
      ;(entry.type === 'ai_stream_chunk' ? content : reasoning).push(entry.content)
    } else if (entry.type === 'typing' || entry.type === 'user_message') {
      // A turn's chunks all come after the model was asked for it.
      break
    }
  }
  const last = offsets[0]
  const first = offsets.at(-1)
  if (turnId === undefined || last === undefined || first === undefined) return undefined
  return { first, last, dropped: offsets.slice(1), message: messageOf(turnId, content, reasoning) }
}

function messageOf(turnId: string, content: string[], reasoning: string[]): EntryOf<'ai_message'> {
  return {
    type: 'ai_message',
    turn_id: turnId,
    content: content.reverse().join(''),
    ...(reasoning.length > 0 ? { reasoning: reasoning.reverse().join('') } : {}),
  }
}
