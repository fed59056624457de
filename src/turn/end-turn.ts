import type { Logger } from 'pino'
import type { Clock } from '../actor/clock.ts'
import { type Appended, LogError } from '../log/channel-log.ts'
import type { Entry, EntryOf, Outcome, Usage } from '../protocol/entry.ts'
import { ERRORS, type ErrorCode } from '../protocol/errors.ts'

/** How a turn ended, as its terminal entry tells it. */
export interface End {
  readonly turn_id: string
  readonly outcome: Outcome
  /** Why it failed or was interrupted. */
  readonly error?: ErrorCode | undefined
  readonly finish_reason?: string | null
  readonly usage?: Usage | null
  readonly words: number
}

/** Appends an entry on behalf of a turn. */
export type AppendOfTurn = (entry: Entry, producer: string, sequence: number | string) => Promise<Appended>

/** How long a terminal entry that could not be written waits for its next try, in ms. */
const RETRY_MS = 1_000

/** The terminal entry of a turn. SPEC.md C3. */
export function endEntry({ turn_id, outcome, error, finish_reason, usage, words }: End): EntryOf<'ai_stream_end'> {
  return {
    type: 'ai_stream_end',
    turn_id,
    outcome,
    finish_reason: finish_reason ?? null,
    usage: usage ?? null,
    ...(error !== undefined && { error: { code: error, content: ERRORS[error].content } }),
    content: '',
    metadata: { total_words: words },
  }
}

/** Appends a turn's terminal entry. All who end a turn write under one producer and sequence, so there is one. */
export function appendEnd(append: AppendOfTurn, end: End): Promise<Appended> {
  return append(endEntry(end), `turn:${end.turn_id}`, 'end')
}

/**
 * Appends a turn's terminal entry, again and again until the log takes it: a turn must not stay open because a disk was
 * full. `onUnsaved` is told once. Resolves when it is written, or when it is another process's to write.
 */
export async function appendEndAtLast(
  append: AppendOfTurn,
  end: End,
  { clock, logger, onUnsaved }: { clock: Clock; logger: Logger; onUnsaved: () => void },
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await appendEnd(append, end)
      return
    } catch (error) {
      if (tries === 1) logger.error({ err: error, turn_id: end.turn_id }, 'the end of a turn could not be written')
      if (error instanceof LogError && error.code !== 'failed') return
      if (tries === 1) onUnsaved()
      await new Promise<void>((resolve) => clock.setTimeout(resolve, RETRY_MS))
    }
  }
}
