import type { Usage } from '../protocol/entry.ts'
import type { ErrorCode } from '../protocol/errors.ts'

/** One message of the context. */
export interface ModelMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

/** What a model is asked: the context, oldest first, the user's message last. */
export interface ModelRequest {
  readonly messages: readonly ModelMessage[]
  /** The turn on whose behalf it is asked. */
  readonly turn_id: string
  /** The channel's key, such as `ai-chat/support-42`. */
  readonly channel: string
  /** Who sent the user's message; absent when the turn was taken up again after a restart. */
  readonly principal?: string
  /** What the client put into `user_message.metadata`, unchecked; absent after a restart. */
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** What a model says. `finish` comes last and exactly once; a stream that ends without it has failed (`model_cut`). */
export type ModelEvent =
  | { readonly type: 'text'; readonly content: string }
  | { readonly type: 'reasoning'; readonly content: string }
  | { readonly type: 'finish'; readonly finish_reason: string; readonly usage: Usage | null }

/** The codes of {@link ERRORS} that a model may fail with. */
export type ModelErrorCode = Extract<ErrorCode, `model_${string}`>

/** Why a model failed. `message` is for the log of the server: no key, no message text, no address with credentials. */
export class ModelError extends Error {
  readonly code: ModelErrorCode
  /** Whether another attempt may help, as long as no delta was shown. */
  readonly retryable: boolean
  /** How long the upstream asked to be left alone, in ms. */
  readonly retryAfterMs: number | undefined
  constructor(
    code: ModelErrorCode,
    message: string,
    options: { retryable: boolean; retryAfterMs?: number | undefined; cause?: unknown },
  ) {
    super(message, { cause: options.cause })
    this.name = 'ModelError'
    this.code = code
    this.retryable = options.retryable
    this.retryAfterMs = options.retryAfterMs
  }
}

/** A model that answers in a stream. A team plugs in its own: an agent, a retrieval pipeline, a router. */
export interface ChatModel {
  /** In words for the start-up log, such as `deepseek-chat at https://api.deepseek.com/v1`; never a key. */
  readonly description: string
  /**
   * Asks the model once: no retries inside. Ends, or throws anything, soon after `signal` aborts, with its connection
   * closed. Throws {@link ModelError}; anything else thrown counts as `model_failed`, not to be retried.
   */
  stream(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelEvent>
}
