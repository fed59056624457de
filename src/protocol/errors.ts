/**
 * Every `code` of an `error` frame and of `ai_stream_end.error`, with its sentence for people and when it is used.
 * The table in SPEC.md is generated from this one. Sentences never quote what a client or an upstream sent.
 */
export const ERRORS = {
  bad_json: { content: 'That was not JSON.', when: 'The text is not a JSON object.' },
  bad_frame: {
    content: 'That frame has a wrong field.',
    when: 'A field is missing, unknown, or of the wrong type or size; `content` names it.',
  },
  unknown_type: {
    content: 'That frame type is unknown.',
    when: '`type` is missing or not in the table of client frames.',
  },
  illegal: {
    content: 'That is not possible now.',
    when: "The connection's chart has no transition for the frame; `legal` lists the types that it takes now.",
  },
  rate_limited: {
    content: 'You are sending too fast. Please wait a moment.',
    when: 'The token bucket is empty; `retry_after_ms` says for how long.',
  },
  busy: {
    content: 'An answer is still being written. Please wait for it, or stop it.',
    when: 'Too many turns or frames wait in this channel, or the frame needs a channel without a running turn.',
  },
  draining: {
    content: 'The server is about to restart. Please try again in a moment.',
    when: 'The server drains: nothing new is started.',
  },
  conversation_mismatch: {
    content: 'That conversation is not the current one.',
    when: "`conversation_id` is not the current conversation's.",
  },
  conversation_exists: {
    content: 'That conversation id was used before.',
    when: '`conversation_start` with a `conversation_id` that this channel has seen.',
  },
  conversation_unknown: {
    content: 'There is no such conversation here.',
    when: '`?conversation_id=` names a conversation that this channel does not have.',
  },
  nothing_to_regenerate: {
    content: 'There is no message to answer anew.',
    when: '`regenerate` in a conversation without a user message.',
  },
  storage: {
    content: 'This could not be saved. Please try again.',
    when: 'The log refused or failed the append, or was too slow; nothing of it was shown to anyone. Send it again under the same `id`: with `REDIS_WAIT_REPLICAS`, it may yet be there.',
  },
  stalled: {
    content: 'The answer stands still: it cannot be saved at the moment.',
    when: 'The log cannot be reached, or refuses what the turn says; `turn_id` names the turn (C18).',
  },
  model_busy: {
    content: 'The model is busy. Please try again in a moment.',
    when: 'The model answered 429, or too many turns wait for it.',
  },
  model_unavailable: {
    content: 'The model cannot be reached at the moment.',
    when: 'The model answered 5xx, its connection failed, or its circuit breaker is open.',
  },
  model_timeout: {
    content: 'The model took too long to answer.',
    when: 'No token came within `LLM_FIRST_TOKEN_TIMEOUT_MS`, or none more within `LLM_IDLE_TIMEOUT_MS`.',
  },
  model_cut: {
    content: 'The answer broke off before its end.',
    when: "The model's stream ended without a `finish_reason`, or its connection was lost.",
  },
  model_refused: {
    content: 'The model refused the request.',
    when: 'The model answered another 4xx: a wrong key, an unknown model, a context too long.',
  },
  model_failed: {
    content: 'The model gave an answer that could not be understood.',
    when: 'Any other fault of the model, bad JSON in its stream among them.',
  },
  interrupted: { content: 'The answer was interrupted.', when: 'The server stopped or died while the turn ran.' },
} as const satisfies Record<string, { content: string; when: string }>

/** A row of {@link ERRORS}. */
export type ErrorCode = keyof typeof ERRORS
