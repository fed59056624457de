import { z } from 'zod'
import { entrySchema, OUTCOMES } from './entry.ts'

/** What `history` shows of one message. `client_id` in rooms only; `outcome` of answers only. */
const historyMessage = z.strictObject({
  role: z.enum(['user', 'assistant']),
  content: z.string(),
  id: z.string().optional(),
  turn_id: z.string().optional(),
  client_id: z.string().optional(),
  outcome: z.enum(OUTCOMES).optional(),
  /** Why an answer failed. */
  error: z.object({ code: z.string(), content: z.string() }).optional(),
})
/** One message of a `history` frame. */
export type HistoryMessage = z.infer<typeof historyMessage>

/** The limits that a client is told in `welcome`, so that it can keep to them. */
const limits = z.strictObject({
  max_message_bytes: z.number(),
  /** Frames a second, and how many at once. */
  rate_limit: z.number(),
  rate_burst: z.number(),
  heartbeat_interval_ms: z.number(),
  heartbeat_timeout_ms: z.number(),
})
/** See {@link WelcomeFrame}. */
export type Limits = z.infer<typeof limits>

const offset = z.number().int().nonnegative()

/** Frames that are not entries of the log. The order is that of SPEC.md's table. */
export const unloggedFrameSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('welcome'),
    protocol: z.literal(1),
    connection_id: z.string(),
    channel: z.string(),
    epoch: z.string(),
    offset,
    resumed: z.boolean(),
    limits,
  }),
  z.strictObject({
    type: z.literal('history'),
    conversation_id: z.string().optional(),
    messages: z.array(historyMessage),
    /** The same list again, on `/chat` only, where the tutorial's `ChatClient` looks for it. */
    content: z.array(historyMessage).optional(),
    more: z.boolean().optional(),
    offset: offset.optional(),
  }),
  z.strictObject({ type: z.literal('queued'), turn_id: z.string(), position: z.number().int().positive() }),
  /** A member is typing. (The model's `typing` is an entry of the log, with a `turn_id`.) */
  z.strictObject({ type: z.literal('typing'), client_id: z.string() }),
  z.strictObject({ type: z.literal('user_joined'), client_id: z.string(), content: z.string() }),
  z.strictObject({ type: z.literal('user_left'), client_id: z.string(), content: z.string() }),
  z.strictObject({ type: z.literal('presence'), members: z.array(z.strictObject({ client_id: z.string() })) }),
  z.strictObject({
    type: z.literal('error'),
    code: z.string(),
    content: z.string(),
    id: z.string().optional(),
    turn_id: z.string().optional(),
    retry_after_ms: z.number().optional(),
    legal: z.array(z.string()).optional(),
  }),
  z.strictObject({ type: z.literal('echo'), content: z.string(), id: z.string().optional() }),
  z.strictObject({ type: z.literal('pong') }),
  z.strictObject({ type: z.literal('draining'), reconnect_after_ms: z.number() }),
])

/** A server frame that is not in the log: a signal, an answer, or the frame of a joiner's snapshot. */
export type UnloggedFrame = z.infer<typeof unloggedFrameSchema>
/** The unlogged frame of one type. */
export type UnloggedFrameOf<T extends UnloggedFrame['type']> = Extract<UnloggedFrame, { type: T }>
/** First frame of a connection, and of each new beginning. SPEC.md G2 to G4. */
export type WelcomeFrame = UnloggedFrameOf<'welcome'>
/** SPEC.md L9. */
export type ErrorFrame = UnloggedFrameOf<'error'>

/** A frame that stands in the log: its entry and, but for a snapshot's earlier frames, its offset. */
export const loggedFrameSchema = z.intersection(
  entrySchema,
  z.object({ offset: offset.optional(), fair_key: z.never().optional() }),
)
