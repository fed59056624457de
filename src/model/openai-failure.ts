import { ModelError } from './chat-model.ts'
import { isRecord } from './openai-chunk.ts'

/** Statuses of passing trouble below 500: the request took too long, the model's lock was held. */
const PASSING_STATUSES = new Set([408, 409])

/** An answer with a status that is no success. `headers` may say when to come back. */
export function failureOfStatus(status: number, code: unknown, headers: Headers | undefined): ModelError {
  const message = `the model answered ${status}${inBrackets(code)}`
  const retryAfterMs = headers && retryAfter(headers)
  if (status === 429) {
    // A used-up quota is a 429, too, but waiting a second does not fill it.
    return new ModelError('model_busy', message, { retryable: code !== 'insufficient_quota', retryAfterMs })
  }
  if (status >= 500 || PASSING_STATUSES.has(status)) {
    return new ModelError('model_unavailable', message, { retryable: true, retryAfterMs })
  }
  if (status >= 400) return new ModelError('model_refused', message, { retryable: false })
  return new ModelError('model_failed', message, { retryable: false })
}

/** An `error` in the stream, where the status is 200: OpenRouter and vLLM give a number as its code, others a word. */
export function failureInStream(error: unknown): ModelError {
  const { status, code, type } = isRecord(error) ? error : {}
  for (const candidate of [status, code]) {
    const number = Number(candidate)
    if (Number.isInteger(number) && number >= 400 && number <= 599) return failureOfStatus(number, undefined, undefined)
  }
  const words = [code, type].filter((word) => typeof word === 'string').join(' ')
  const message = `the model sent an error in its stream${inBrackets(code ?? type)}`
  if (/quota/i.test(words)) return new ModelError('model_busy', message, { retryable: false })
  if (/rate_?limit|too_?many/i.test(words)) return new ModelError('model_busy', message, { retryable: true })
  if (/server_?error|overload|unavailable|time_?out/i.test(words)) {
    return new ModelError('model_unavailable', message, { retryable: true })
  }
  if (/invalid|bad_?request|not_?found|context_length|content_|policy|permission|auth/i.test(words)) {
    return new ModelError('model_refused', message, { retryable: false })
  }
  return new ModelError('model_failed', message, { retryable: false })
}

/**
 * A fault of the connection, or none of the kinds above. `begun` says whether a chunk had arrived. No `cause` is kept:
 * it holds addresses, and may hold headers and text.
 */
export function failureOfTransport(error: unknown, begun: boolean): ModelError {
  const code = systemCode(error)
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') {
    return new ModelError('model_timeout', `the model said nothing for too long (${code})`, { retryable: true })
  }
  if (code === undefined) {
    const name = error instanceof Error ? error.name : typeof error
    return new ModelError('model_failed', `the model's answer could not be read (${name})`, { retryable: false })
  }
  return begun
    ? new ModelError('model_cut', `the connection to the model broke (${code})`, { retryable: true })
    : new ModelError('model_unavailable', `the model cannot be reached (${code})`, { retryable: true })
}

/** In ms: `retry-after-ms`, else `retry-after` in seconds or as a date. Undefined where it says nothing useful. */
function retryAfter(headers: Headers): number | undefined {
  const inMs = headers.get('retry-after-ms')
  if (inMs !== null && isAmount(inMs)) return Number(inMs)
  const text = headers.get('retry-after')
  if (text === null) return undefined
  if (isAmount(text)) return Number(text) * 1000
  // Date.parse takes nearly anything for a date; HTTP's have a month by name.
  const date = /[A-Z][a-z]{2}/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now())
}

function isAmount(text: string): boolean {
  return /^\d{1,9}(\.\d+)?$/.test(text.trim())
}

/** The code that Node.js or undici gave a fault, such as ECONNREFUSED, somewhere among its causes. */
function systemCode(error: unknown): string | undefined {
  let at = error
  for (let depth = 0; depth < 5 && at instanceof Error; depth++) {
    if ('code' in at && typeof at.code === 'string' && /^[A-Z][A-Z_0-9]+$/.test(at.code)) return at.code
    at = at.cause
  }
  return undefined
}

/** Only a plain word: an upstream may put anything here, the key that it was sent included. */
function inBrackets(code: unknown): string {
  return typeof code === 'string' && /^[A-Za-z_]{1,40}$/.test(code) ? ` (${code})` : ''
}
