/**
 * What a server says, as TypeScript sees it. Written by hand, so that the types of `statewire/client` need nothing of the
 * server's packages; a test holds them against the schemas of `src/protocol`. SPEC.md describes every frame and field.
 */

/** How a turn ended. SPEC.md C3. */
export type Outcome = 'completed' | 'stopped' | 'failed' | 'interrupted'

/** Tokens that the model counted. */
export interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
}

/** Why something failed: a code of SPEC.md's table, and a sentence for people. */
export interface Failure {
  readonly code: string
  readonly content: string
}

/** One message of a `history` frame. `turn_id` in chats only, `client_id` in rooms only, `outcome` of answers only. */
export interface HistoryMessage {
  readonly role: 'user' | 'assistant'
  readonly content: string
  readonly id?: string | undefined
  readonly turn_id?: string | undefined
  readonly client_id?: string | undefined
  readonly outcome?: Outcome | undefined
  readonly error?: Failure | undefined
}

/** What the server asks its clients to keep to. */
export interface Limits {
  readonly max_message_bytes: number
  /** Frames a second, and how many at once. */
  readonly rate_limit: number
  readonly rate_burst: number
  readonly heartbeat_interval_ms: number
  readonly heartbeat_timeout_ms: number
}

/** Of the log: the place in it, but for a snapshot's earlier frames. SPEC.md G1, G3. */
interface Logged {
  readonly offset?: number | undefined
}

/** Of what a client asked for by a frame with an `id`: the same. SPEC.md C7. */
interface Asked {
  readonly id?: string | undefined
}

/** A part of an answer, or of the reasoning before it. */
interface Chunk extends Logged {
  readonly turn_id: string
  readonly content: string
}

/** The beginning and the end of a conversation. SPEC.md C9. */
interface Edge extends Logged, Asked {
  readonly conversation_id: string
}

/** Somebody came to a room, or left it. */
interface Presence {
  readonly client_id: string
  readonly content: string
}

/** The frames by their `type`, without it. */
export interface Frames {
  welcome: {
    readonly connection_id: string
    readonly channel: string
    readonly epoch: string
    readonly offset: number
    readonly resumed: boolean
    readonly limits: Limits
  }
  history: Logged & {
    readonly messages: readonly HistoryMessage[]
    readonly conversation_id?: string | undefined
    readonly more?: boolean | undefined
  }
  user_message: Logged &
    Asked & {
      readonly turn_id: string
      readonly content: string
      readonly client_id: string
      readonly conversation_id: string
    }
  queued: { readonly turn_id: string; readonly position: number }
  /** Of the model with a `turn_id`; of another member with a `client_id`. */
  typing: Logged &
    Asked & {
      readonly turn_id?: string | undefined
      readonly regenerates?: string | undefined
      readonly client_id?: string | undefined
    }
  ai_stream_chunk: Chunk
  ai_reasoning_chunk: Chunk
  /** A whole answer. SPEC.md G7. */
  ai_message: Chunk & { readonly reasoning?: string | undefined }
  ai_stream_end: Logged & {
    readonly turn_id: string
    readonly outcome: Outcome
    readonly finish_reason: string | null
    readonly usage: Usage | null
    readonly error?: Failure | undefined
  }
  conversation_start: Edge
  conversation_end: Edge
  message: Logged & Asked & { readonly content: string; readonly client_id: string }
  user_joined: Presence
  user_left: Presence
  presence: { readonly members: readonly { readonly client_id: string }[] }
  error: Asked & {
    readonly code: string
    readonly content: string
    readonly turn_id?: string | undefined
    readonly retry_after_ms?: number | undefined
    readonly legal?: readonly string[] | undefined
  }
  pong: Readonly<Record<never, unknown>>
  draining: { readonly reconnect_after_ms: number }
}

/** A type of frame that this client knows. */
export type FrameType = keyof Frames
/** The frame of one type. */
export type FrameOf<T extends FrameType> = { readonly type: T } & Frames[T]
/** Any frame that this client knows. */
export type ServerFrame = { [T in FrameType]: FrameOf<T> }[FrameType]
