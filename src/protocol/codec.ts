import type { z } from 'zod'
import { CLIENT_FRAME_TYPES, type ClientFrame, clientFrameSchema, idSchema } from './client-frame.ts'
import { ERRORS, type ErrorCode } from './errors.ts'
import type { ErrorFrame, UnloggedFrame } from './server-frame.ts'

/**
 * The native wire: the only place that turns text into frames and back. Entries of the log are stored as the frames
 * that they become, so a logged frame costs one concatenation, not a serialization.
 */

/** What a text decoded to: a frame, or the error that its sender gets. */
export type Decoded = { readonly frame: ClientFrame } | { readonly error: ErrorFrame }

/** How deep `metadata` may be nested. SPEC.md P5. */
export const MAX_METADATA_DEPTH = 8

/** Decodes a client's text. Never throws; never quotes what was sent. */
export function decode(text: string): Decoded {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    // The parser's own message quotes the text, so the sender gets ours.
    return { error: errorFrame('bad_json') }
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return { error: errorFrame('bad_json') }
  const result = clientFrameSchema.safeParse(json)
  if (!result.success) return { error: refusal(json, result.error) }
  const frame = result.data
  if ('metadata' in frame && frame.metadata !== undefined && isDeeper(frame.metadata, MAX_METADATA_DEPTH)) {
    return {
      error: errorFrame('bad_frame', { detail: `metadata: nested more than ${MAX_METADATA_DEPTH} deep`, id: frame.id }),
    }
  }
  return { frame }
}

/** Whether a text is a JSON object: on `/ws`, anything else is plain text. SPEC.md L6. */
export function isJsonObject(text: string): boolean {
  if (!text.trimStart().startsWith('{')) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    // Not JSON is an answer here, no fault.
    return false
  }
}

/** The text of a frame that is not in the log. */
export function encode(frame: UnloggedFrame): string {
  return JSON.stringify(frame)
}

/** What most entries begin with, and those never that have a `fair_key`. */
const ANSWER = '{"type":"ai_'
/** Within a string, its quotes would be escaped. */
const FAIR_KEY = /,\s*"fair_key":\s*"[^"]*"/

/** The frame of a log entry, from the entry's stored text. */
export function encodeEntry(text: string, offset: number): string {
  const shown = text.startsWith(ANSWER) ? text : text.replace(FAIR_KEY, '')
  return `${shown.slice(0, -1)},"offset":${offset}}`
}

/** Builds an `error` frame. `detail` is added to the sentence; it names fields, never values. */
export function errorFrame(
  code: ErrorCode,
  more: { detail?: string; id?: string | undefined; turn_id?: string; retry_after_ms?: number; legal?: string[] } = {},
): ErrorFrame {
  const { detail, id, ...rest } = more
  const content = detail === undefined ? ERRORS[code].content : `${ERRORS[code].content} (${detail})`
  return { type: 'error', code, content, ...(id !== undefined && { id }), ...rest }
}

function refusal(json: object, error: z.ZodError): ErrorFrame {
  const id = 'id' in json ? idSchema.safeParse(json.id).data : undefined
  const issue = error.issues[0]
  if (issue?.code === 'invalid_union') {
    return errorFrame('unknown_type', { detail: `known: ${CLIENT_FRAME_TYPES.join(', ')}`, id })
  }
  const details = error.issues.slice(0, 3).map(describeIssue)
  return errorFrame('bad_frame', { detail: details.join('; '), id })
}

function describeIssue(issue: z.core.$ZodIssue): string {
  // An unknown field's name is the client's own text, so only names that look like one are repeated.
  if (issue.code === 'unrecognized_keys') {
    const names = issue.keys.map((key) => (/^[A-Za-z0-9_]{1,64}$/.test(key) ? key : '(an odd name)'))
    return `unknown field ${names.slice(0, 3).join(', ')}`
  }
  return `${issue.path.map(String).join('.')}: ${issue.message}`
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (depth === 0) return true
  return Object.values(value).some((inner) => isDeeper(inner, depth - 1))
}
