import { z } from 'zod'

/**
 * What a channel's log holds. An entry that members see is the server frame itself without its `offset`, so that
 * stored text becomes a frame by adding one field; `attempt`, `stop` and `fair_key` are the log's own and never go out.
 */

/** How a turn ended. SPEC.md C3. */
export const OUTCOMES = ['completed', 'stopped', 'failed', 'interrupted'] as const
const outcome = z.enum(OUTCOMES)
/** The terminal outcome of a turn. */
export type Outcome = z.infer<typeof outcome>

const usage = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  total_tokens: z.number(),
})
/** Tokens that the model counted, as the OpenAI API names them. */
export type Usage = z.infer<typeof usage>

/** Whose turn it is, for fairness: the log's own. `encodeEntry` takes it out of what members see. SPEC.md Q4. */
const fair_key = z.string().optional()

const chunk = { turn_id: z.string(), content: z.string(), metadata: z.object({ index: z.number() }) }

/** Every kind of log entry. */
export const entrySchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('user_message'),
    turn_id: z.string(),
    content: z.string(),
    id: z.string().optional(),
    client_id: z.string(),
    conversation_id: z.string(),
    fair_key,
  }),
  z.object({
    type: z.literal('typing'),
    turn_id: z.string(),
    /** The turn whose answer this turn's answer replaces. */
    regenerates: z.string().optional(),
    id: z.string().optional(),
    fair_key,
  }),
  /** Written before each request to the model. `run` counts the processes that took up the turn, from 1. */
  z.object({ type: z.literal('attempt'), turn_id: z.string(), attempt: z.number(), run: z.number() }),
  /** The intent to stop, written before the turn is told. */
  z.object({ type: z.literal('stop'), turn_id: z.string() }),
  z.object({ type: z.literal('ai_stream_chunk'), ...chunk }),
  z.object({ type: z.literal('ai_reasoning_chunk'), ...chunk }),
  /** A whole answer: what the chunks of an ended turn are folded into, at the offset of the last of them. */
  z.object({
    type: z.literal('ai_message'),
    turn_id: z.string(),
    content: z.string(),
    reasoning: z.string().optional(),
  }),
  z.object({
    type: z.literal('ai_stream_end'),
    turn_id: z.string(),
    outcome,
    finish_reason: z.string().nullable(),
    usage: usage.nullable(),
    error: z.object({ code: z.string(), content: z.string() }).optional(),
    content: z.literal(''),
    metadata: z.object({ total_words: z.number() }),
  }),
  z.object({
    type: z.literal('conversation_start'),
    conversation_id: z.string(),
    id: z.string().optional(),
    client_id: z.string(),
  }),
  z.object({
    type: z.literal('conversation_end'),
    conversation_id: z.string(),
    id: z.string().optional(),
    client_id: z.string(),
  }),
  z.object({ type: z.literal('message'), content: z.string(), id: z.string().optional(), client_id: z.string() }),
])

/** One entry of a channel's log. */
export type Entry = z.infer<typeof entrySchema>
/** The entry of one type. */
export type EntryOf<T extends Entry['type']> = Extract<Entry, { type: T }>

/** Whether members never see this entry. */
export function isHidden({ type }: Pick<Entry, 'type'>): boolean {
  return type === 'attempt' || type === 'stop'
}

/** By how much an entry changes the number of its channel's turns without a terminal entry: 1, -1 or 0. */
export function turnsOpenedBy(entry: Entry): -1 | 0 | 1 {
  if (entry.type === 'user_message') return 1
  if (entry.type === 'typing') return entry.regenerates === undefined ? 0 : 1
  return entry.type === 'ai_stream_end' ? -1 : 0
}
