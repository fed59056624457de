import OpenAI from 'openai'
import type { Clock, Timer } from '../actor/clock.ts'
import type { Usage } from '../protocol/entry.ts'
import { type ChatModel, ModelError, type ModelEvent, type ModelMessage, type ModelRequest } from './chat-model.ts'
import { readChunk } from './openai-chunk.ts'
import { failureInStream, failureOfStatus, failureOfTransport } from './openai-failure.ts'
import { createReusingFetch } from './openai-fetch.ts'

const OPENAI_URL = 'https://api.openai.com/v1'
/** What servers without keys are sent; the SDK insists on one. */
const NO_KEY = 'none'
/** The longest that a Node.js timer takes: the SDK's own timeout is out of the way, ours decide. */
const NEVER_MS = 2 ** 31 - 1

/** Where the model is and how patient we are with it. */
export interface OpenAiModelOptions {
  /** Not needed by local servers. */
  readonly apiKey?: string | undefined
  /** Of any OpenAI-compatible server, such as `http://127.0.0.1:11434/v1`. Credentials in it are sent as basic authorization. */
  readonly baseUrl?: string | undefined
  readonly model: string
  readonly clock: Clock
  /** From the request until the first text or reasoning; above 300,000, fetch's own limit on waiting comes first. */
  readonly firstTokenTimeoutMs: number
  /** From each token, once the consumer has taken it, until the next. */
  readonly idleTimeoutMs: number
}

/**
 * A model behind the OpenAI API's streaming chat completions. The SDK neither retries nor times out here: retries
 * would be billed unseen, and its timeout stops at the headers.
 */
export function createOpenAiModel(options: OpenAiModelOptions): ChatModel {
  const { model, clock } = options
  const url = new URL(options.baseUrl ?? OPENAI_URL)
  const client = createClient(url, options)

  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    if (signal.aborted) return
    const call = new AbortController()
    const abort = () => call.abort()
    signal.addEventListener('abort', abort, { once: true })
    const patience = createPatience(clock, options, abort)
    let begun = false
    let finish_reason: string | undefined
    let usage: Usage | null = null

    try {
      const response = await client.chat.completions.create(
        { model, messages: request.messages.map(toMessage), stream: true, stream_options: { include_usage: true } },
        { signal: call.signal },
      )
      const chunks: AsyncIterable<unknown> = response
      // Leaving this loop before the stream's end closes the socket.
      for await (const sent of chunks) {
        begun = true
        const chunk = readChunk(sent)
        if (chunk === undefined) {
          throw new ModelError('model_failed', 'the model sent a chunk of the wrong shape', { retryable: false })
        }
        usage = chunk.usage ?? usage
        finish_reason = chunk.finish_reason ?? finish_reason
        if (finish_reason !== undefined) patience.finish()
        if (chunk.reasoning === '' && chunk.text === '') continue
        patience.suspend()
        if (chunk.reasoning !== '') yield { type: 'reasoning', content: chunk.reasoning }
        if (chunk.text !== '') yield { type: 'text', content: chunk.text }
        patience.resume()
      }
    } catch (error) {
      // Once the model has said that it finished, the answer is whole, whatever happens to the rest of the stream.
      if (!call.signal.aborted && finish_reason === undefined) throw failureOf(error, begun)
    } finally {
      patience.end()
      signal.removeEventListener('abort', abort)
    }

    if (signal.aborted) return
    if (finish_reason !== undefined) yield { type: 'finish', finish_reason, usage }
    else if (patience.exhausted()) throw new ModelError('model_timeout', patience.reason(), { retryable: true })
    else throw new ModelError('model_cut', 'the stream ended without a finish reason', { retryable: true })
  }

  return { description: `${model} at ${url.origin}${url.pathname.replace(/\/$/, '')}`, stream }
}

function createClient(url: URL, { apiKey, baseUrl, clock }: OpenAiModelOptions): OpenAI {
  const { username, password } = url
  const bare = new URL(url)
  // fetch refuses URLs with credentials.
  bare.username = ''
  bare.password = ''
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  return new OpenAI({
    apiKey: apiKey || NO_KEY,
    baseURL: bare.href,
    // The SDK reads these from the environment: OpenAI's, and no other server's business.
    ...(baseUrl === undefined ? {} : { organization: null, project: null }),
    ...(username === '' ? {} : { defaultHeaders: { authorization: `Basic ${credentials}` } }),
    fetch: createReusingFetch(clock),
    maxRetries: 0,
    timeout: NEVER_MS,
    logLevel: 'off',
  })
}

function toMessage({ role, content }: ModelMessage): OpenAI.ChatCompletionMessageParam {
  return { role, content }
}

function failureOf(error: unknown, begun: boolean): ModelError {
  if (error instanceof ModelError) return error
  if (error instanceof OpenAI.APIError && !(error instanceof OpenAI.APIConnectionError)) {
    const status: unknown = error.status
    return typeof status === 'number'
      ? failureOfStatus(status, error.code, error.headers)
      : failureInStream(error.error)
  }
  if (error instanceof SyntaxError) {
    return new ModelError('model_failed', 'the model sent an event that is no JSON', { retryable: false })
  }
  return failureOfTransport(error, begun)
}

/** How long the usage may come after the finish reason, in ms: the user has the whole answer, and waits for its end. */
const USAGE_MS = 1_000

interface Patience {
  /** A token came; the time that the consumer takes over it does not count. */
  suspend(): void
  resume(): void
  /** The answer is whole; only its usage may still come. */
  finish(): void
  end(): void
  exhausted(): boolean
  reason(): string
}

/** The first-token timer, and then the idle timer: a stamp per token, looked at when the one timer fires. */
function createPatience(
  clock: Clock,
  { firstTokenTimeoutMs, idleTimeoutMs }: OpenAiModelOptions,
  giveUp: () => void,
): Patience {
  let limit = firstTokenTimeoutMs
  let first = true
  let exhausted = false
  let waitingSince: number | undefined = clock.now()
  let timer: Timer = clock.setTimeout(look, limit)

  function look(): void {
    const left = waitingSince === undefined ? limit : waitingSince + limit - clock.now()
    if (left > 0) {
      timer = clock.setTimeout(look, left)
    } else {
      exhausted = true
      giveUp()
    }
  }

  return {
    suspend() {
      waitingSince = undefined
      if (!first) return
      first = false
      limit = idleTimeoutMs
      clock.clearTimeout(timer)
      timer = clock.setTimeout(look, limit)
    },
    resume() {
      waitingSince = clock.now()
    },
    finish() {
      if (limit === USAGE_MS) return
      first = false
      limit = Math.min(limit, USAGE_MS)
      clock.clearTimeout(timer)
      timer = clock.setTimeout(look, limit)
    },
    end: () => clock.clearTimeout(timer),
    exhausted: () => exhausted,
    reason: () => (first ? 'no token came within the time for the first one' : 'no further token came in time'),
  }
}
