import { z } from 'zod'

/** The longest `id`, `turn_id` and `conversation_id`, in characters. SPEC.md P6. */
export const MAX_ID_LENGTH = 64

/** What names a frame, a turn or a conversation. SPEC.md P6. */
export const idSchema = z.string().min(1).max(MAX_ID_LENGTH)
const id = idSchema
const content = z.string().min(1)
// The depth of what is in here is bounded by the codec (P5); nobody but the model adapter of a team looks inside.
const metadata = z.record(z.string(), z.unknown())

/** Every frame that a client may send, by its `type`. Unknown types and fields are refused. SPEC.md P3 and P4. */
export const clientFrameSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('user_message'),
    content,
    id: id.optional(),
    conversation_id: id.optional(),
    metadata: metadata.optional(),
  }),
  z.strictObject({ type: z.literal('stop'), turn_id: id.optional() }),
  z.strictObject({ type: z.literal('regenerate'), id: id.optional() }),
  z.strictObject({ type: z.literal('typing') }),
  z.strictObject({
    type: z.literal('conversation_start'),
    id: id.optional(),
    conversation_id: id.optional(),
    metadata: metadata.optional(),
  }),
  z.strictObject({
    type: z.literal('conversation_end'),
    id: id.optional(),
    conversation_id: id.optional(),
    metadata: metadata.optional(),
  }),
  z.strictObject({ type: z.literal('message'), content, id: id.optional() }),
  z.strictObject({ type: z.literal('ping') }),
  z.strictObject({ type: z.literal('pong') }),
])

/** A decoded client frame: the event that the connection's actor gets. */
export type ClientFrame = z.infer<typeof clientFrameSchema>
/** The `type` of a client frame. */
export type ClientFrameType = ClientFrame['type']

/** Every client frame type, in the order of SPEC.md's table. */
export const CLIENT_FRAME_TYPES: readonly ClientFrameType[] = clientFrameSchema.options.map(
  (option) => option.shape.type.value,
)
