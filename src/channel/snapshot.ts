import { encodeEntry } from '../protocol/codec.ts'
import type { Entry } from '../protocol/entry.ts'
import type { HistoryMessage, UnloggedFrame, UnloggedFrameOf } from '../protocol/server-frame.ts'
import type { OpenTurn } from './chat-state.ts'

/** The channel at one moment: frames without offset, whose last one gets `offset`; after it come the entries above `offset`. */
export interface Snapshot {
  readonly frames: Iterable<UnloggedFrame | Entry>
  readonly epoch: string
  readonly offset: number
}

/** How long a frame of a snapshot gets, in UTF-16 units of content: at most 48 KB on the wire, unless one message is longer. */
export const PAGE_LENGTH = 16 * 1024

/** Messages as `history` frames, page by page; at least one. `isDoubled` puts the list under `content`, too (SPEC.md G11). */
export function* historyPages(
  messages: readonly HistoryMessage[],
  conversation_id: string | undefined,
  isDoubled: boolean,
): Generator<UnloggedFrameOf<'history'>> {
  const limit = isDoubled ? PAGE_LENGTH / 2 : PAGE_LENGTH
  let from = 0
  do {
    let to = from
    let length = 0
    while (to < messages.length && (to === from || length + (messages[to]?.content.length ?? 0) <= limit)) {
      length += messages[to]?.content.length ?? 0
      to++
    }
    const page = messages.slice(from, to)
    yield {
      type: 'history',
      ...(conversation_id !== undefined && { conversation_id }),
      messages: page,
      ...(isDoubled && { content: page }),
      ...(to < messages.length && { more: true }),
    }
    from = to
  } while (from < messages.length)
}

/** A text as chunks that are not too long for one frame. A cut within a character is mended where the chunks are joined. */
export function* chunksOf(
  type: 'ai_stream_chunk' | 'ai_reasoning_chunk',
  turn_id: string,
  text: string,
): Generator<Entry> {
  for (let from = 0; from < text.length; from += PAGE_LENGTH) {
    yield { type, turn_id, content: text.slice(from, from + PAGE_LENGTH), metadata: { index: 0 } }
  }
}

/** Frames as texts; the last one carries the offset. SPEC.md G3. */
export function* withOffset(frames: Iterable<UnloggedFrame | Entry>, offset: number): Generator<string> {
  let last: string | undefined
  for (const frame of frames) {
    if (last !== undefined) yield last
    last = JSON.stringify(frame)
  }
  if (last !== undefined) yield encodeEntry(last, offset)
}

/** A running turn, for a joiner: that the model was asked, and what it has said until now. */
export function* soFar(turn: OpenTurn, answer: OpenTurn['answer']): Generator<UnloggedFrame | Entry> {
  const { turn_id, regenerates } = turn
  yield { type: 'typing', turn_id, ...(regenerates !== undefined && { regenerates }) }
  yield* chunksOf('ai_reasoning_chunk', turn_id, answer.reasoning)
  yield* chunksOf('ai_stream_chunk', turn_id, answer.text)
}

/** One after the other. */
export function* concat<T>(...parts: Iterable<T>[]): Generator<T> {
  for (const part of parts) yield* part
}
