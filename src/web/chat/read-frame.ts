import type { Outcome } from '../../protocol/entry.ts'
import type { HistoryMessage, Limits } from '../../protocol/server-frame.ts'

/**
 * The server frames that the chat page acts on, with the fields that it uses. The schemas of `src/protocol` stay on
 * the server: they would refuse fields that a later server adds (SPEC.md P8), and weigh more than the rest of the page.
 */
export type ChatFrame =
  | {
      type: 'welcome'
      channel: string
      epoch: string
      offset: number
      resumed: boolean
      limits: Limits
    }
  | { type: 'history'; messages: readonly HistoryMessage[]; offset?: number }
  | { type: 'user_message'; content: string; id?: string; turn_id: string; offset?: number }
  | { type: 'queued'; turn_id: string; position: number }
  | { type: 'typing'; turn_id: string; regenerates?: string; id?: string; offset?: number }
  | { type: 'ai_stream_chunk' | 'ai_reasoning_chunk'; turn_id: string; content: string; offset?: number }
  | { type: 'ai_message'; turn_id: string; content: string; reasoning?: string; offset?: number }
  | { type: 'ai_stream_end'; turn_id: string; outcome: Outcome; failure?: string; offset?: number }
  | { type: 'conversation_start' | 'conversation_end'; conversation_id: string; id?: string; offset?: number }
  | { type: 'error'; code: string; content: string; id?: string; retry_after_ms?: number }
  | { type: 'pong' }
  | { type: 'draining'; reconnect_after_ms: number }

type Fields = Readonly<Record<string, unknown>>

/** Reads one message of the server. Undefined for what this page does not know, which it must ignore. SPEC.md P8. */
export function readFrame(message: string): ChatFrame | undefined {
  const fields = readObject(message)
  if (fields === undefined) return undefined
  const offset = optional('offset', number(fields.offset))
  const id = optional('id', string(fields.id))
  const turn_id = string(fields.turn_id)
  const content = string(fields.content)
  switch (fields.type) {
    case 'welcome':
      return readWelcome(fields)
    case 'history':
      return { type: 'history', messages: list(fields.messages).flatMap(readMessage), ...offset }
    case 'user_message':
      if (turn_id === undefined || content === undefined) return undefined
      return { type: 'user_message', turn_id, content, ...id, ...offset }
    case 'queued':
      return turn_id === undefined ? undefined : { type: 'queued', turn_id, position: number(fields.position) ?? 1 }
    case 'typing':
      // Without a turn it is another member at the keyboard.
      if (turn_id === undefined) return undefined
      return { type: 'typing', turn_id, ...optional('regenerates', string(fields.regenerates)), ...id, ...offset }
    case 'ai_stream_chunk':
    case 'ai_reasoning_chunk':
      if (turn_id === undefined || content === undefined) return undefined
      return { type: fields.type, turn_id, content, ...offset }
    case 'ai_message':
      if (turn_id === undefined || content === undefined) return undefined
      return { type: 'ai_message', turn_id, content, ...optional('reasoning', string(fields.reasoning)), ...offset }
    case 'ai_stream_end': {
      const outcome = readOutcome(fields.outcome)
      if (turn_id === undefined || outcome === undefined) return undefined
      const failure = isFields(fields.error) ? string(fields.error.content) : undefined
      return { type: 'ai_stream_end', turn_id, outcome, ...optional('failure', failure), ...offset }
    }
    case 'conversation_start':
    case 'conversation_end':
      return { type: fields.type, conversation_id: string(fields.conversation_id) ?? '', ...id, ...offset }
    case 'error': {
      const retry = optional('retry_after_ms', number(fields.retry_after_ms))
      return { type: 'error', code: string(fields.code) ?? '', content: content ?? '', ...id, ...retry }
    }
    case 'pong':
      return { type: 'pong' }
    case 'draining':
      return { type: 'draining', reconnect_after_ms: number(fields.reconnect_after_ms) ?? 0 }
    default:
      return undefined
  }
}

function readWelcome(fields: Fields): ChatFrame | undefined {
  const channel = string(fields.channel)
  const epoch = string(fields.epoch)
  const offset = number(fields.offset)
  if (channel === undefined || epoch === undefined || offset === undefined) return undefined
  const told = isFields(fields.limits) ? fields.limits : {}
  const limit = (name: string) => number(told[name]) ?? Number.POSITIVE_INFINITY
  return {
    type: 'welcome',
    channel,
    epoch,
    offset,
    resumed: fields.resumed === true,
    limits: {
      max_message_bytes: limit('max_message_bytes'),
      rate_limit: limit('rate_limit'),
      rate_burst: limit('rate_burst'),
      heartbeat_interval_ms: limit('heartbeat_interval_ms'),
      heartbeat_timeout_ms: limit('heartbeat_timeout_ms'),
    },
  }
}

function readMessage(value: unknown): HistoryMessage[] {
  if (!isFields(value) || (value.role !== 'user' && value.role !== 'assistant')) return []
  const content = string(value.content)
  if (content === undefined) return []
  const id = optional('id', string(value.id))
  const turn_id = optional('turn_id', string(value.turn_id))
  const outcome = optional('outcome', readOutcome(value.outcome))
  const failure = isFields(value.error) ? string(value.error.content) : undefined
  const error = failure === undefined ? {} : { error: { code: '', content: failure } }
  return [{ role: value.role, content, ...id, ...turn_id, ...outcome, ...error }]
}

function readOutcome(value: unknown): Outcome | undefined {
  return value === 'completed' || value === 'stopped' || value === 'failed' || value === 'interrupted'
    ? value
    : undefined
}

function readObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isFields(value) ? value : undefined
  } catch {
    // Text that is no JSON is no frame; it is passed over like any frame that this page does not know.
    return undefined
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function string(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function optional<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  const field: { [P in K]?: V } = {}
  if (value !== undefined) field[name] = value
  return field
}
