import type { FrameOf, FrameType, HistoryMessage, ServerFrame } from './frames.ts'

/**
 * The fields that each frame must have. Of the others, only `offset` is looked at: to check all of them would cost a
 * page more than it is worth. A test holds the table against the schemas of `src/protocol`.
 */
const FIELDS: { readonly [T in FrameType]: string } = {
  welcome: 'channel epoch offset limits',
  history: 'messages',
  user_message: 'turn_id content',
  queued: 'turn_id position',
  typing: '',
  ai_stream_chunk: 'turn_id content',
  ai_reasoning_chunk: 'turn_id content',
  ai_message: 'turn_id content',
  ai_stream_end: 'turn_id outcome',
  conversation_start: 'conversation_id',
  conversation_end: 'conversation_id',
  message: 'content client_id',
  user_joined: 'client_id',
  user_left: 'client_id',
  presence: 'members',
  error: 'code content',
  pong: '',
  draining: 'reconnect_after_ms',
}

/** What a field is, where it is no string. */
const KINDS: Readonly<Record<string, string>> = {
  offset: 'number',
  limits: 'object',
  max_message_bytes: 'number',
  heartbeat_interval_ms: 'number',
  heartbeat_timeout_ms: 'number',
  messages: 'array',
  position: 'number',
  members: 'array',
  reconnect_after_ms: 'number',
}

/**
 * Reads one message of a server. Undefined for a type that this client does not know, which it must ignore (SPEC.md P8);
 * an `error` of our own, `bad_frame`, for what no server should say.
 */
export function readFrame(message: string): ServerFrame | undefined {
  const value = parse(message)
  if (!isFrame(value)) {
    const isLater = isObject(value) && typeof value.type === 'string' && !isKnown(value.type)
    return isLater ? undefined : fault('bad_frame', 'The server sent something that cannot be read.')
  }
  // What a later server may say of another role is passed over as well.
  return value.type === 'history' ? { ...value, messages: value.messages.filter(isMessage) } : value
}

/** An `error` that no server has sent. */
export function fault(code: string, content: string, id?: string): FrameOf<'error'> {
  return { type: 'error', code, content, id }
}

type Fields = Readonly<Record<string, unknown>>

function parse(message: string): unknown {
  try {
    return JSON.parse(message)
  } catch {
    // As little a frame as any other text that is no object, and told as one.
    return undefined
  }
}

function isKnown(type: unknown): type is FrameType {
  return typeof type === 'string' && Object.hasOwn(FIELDS, type)
}

function isFrame(value: unknown): value is Fields & ServerFrame {
  return (
    isObject(value) &&
    isKnown(value.type) &&
    has(value, FIELDS[value.type]) &&
    (value.offset === undefined || has(value, 'offset')) &&
    // Timers are set by them.
    (!isObject(value.limits) || has(value.limits, 'max_message_bytes heartbeat_interval_ms heartbeat_timeout_ms'))
  )
}

function isMessage(value: unknown): value is HistoryMessage {
  return isObject(value) && has(value, 'role content') && (value.role === 'user' || value.role === 'assistant')
}

function isObject(value: unknown): value is Fields {
  return kindOf(value) === 'object'
}

function has(value: Fields, fields: string): boolean {
  return fields.split(' ').every((name) => name === '' || kindOf(value[name]) === (KINDS[name] ?? 'string'))
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value
}
