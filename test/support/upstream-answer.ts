import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { z } from 'zod'

/** What the upstream takes: a streaming chat completion. Other fields pass. */
export const requestBody = z.looseObject({
  model: z.string(),
  messages: z.array(z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })).min(1),
  stream: z.literal(true),
  stream_options: z.object({ include_usage: z.boolean() }).optional(),
})

/** One request as it arrived, and what became of it. */
export interface UpstreamRequest {
  /** Its place among all requests, from 0. */
  readonly index: number
  /** With the query. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: z.infer<typeof requestBody>
  /** Whether the client closed its socket before the answer was over. */
  readonly aborted: boolean
  /** Resolves when the answer is over, whoever ended it. */
  readonly over: Promise<'answered' | 'aborted' | 'reset'>
}

/** One answer, said piece by piece. Whatever is said to a client that went away is dropped. */
export interface Answer {
  /** Sends the headers alone. All that follow do so by themselves. */
  open(): void
  /** One chunk of text. */
  say(text: string): void
  /** One chunk of reasoning; `field` is the name that the delta gives it. */
  reason(text: string, field?: 'reasoning_content' | 'reasoning'): void
  /** One event with any JSON, well-shaped or not. */
  chunk(json: unknown): void
  /** Bytes as they are, in one HTTP chunk of their own. */
  raw(data: string | Uint8Array): void
  /** The finish reason (`stop`), the usage in a chunk without choices where it was asked for, `[DONE]`, the end. */
  finish(how?: { readonly reason?: string; readonly usage?: unknown }): void
  /** Ends the response with nothing more said. */
  end(): void
  /** Resets the TCP connection. */
  reset(): void
  /** Answers with a status and no stream; `body` is an error object unless given. */
  refuse(status: number, how?: { readonly headers?: Record<string, string>; readonly body?: string }): void
  /** Resolves when the client can take more, or is gone: answers whether it is still there. */
  flushed(): Promise<boolean>
}

/** An answer in a test's hands. All but `requested` throws until the request has arrived. */
export interface HeldAnswer extends Answer {
  readonly requested: Promise<UpstreamRequest>
}

/** The two sides of one exchange. */
export function createAnswer(
  index: number,
  incoming: IncomingMessage,
  body: UpstreamRequest['body'],
  response: ServerResponse,
): { answer: Answer; request: UpstreamRequest } {
  const { promise: over, resolve } = Promise.withResolvers<'answered' | 'aborted' | 'reset'>()
  let wasReset = false
  let aborted = false
  let begun = false
  let said = ''
  response.on('close', () => {
    aborted = !response.writableFinished && !wasReset
    resolve(aborted ? 'aborted' : wasReset ? 'reset' : 'answered')
  })

  const head = { id: `chatcmpl-${index}`, object: 'chat.completion.chunk', created: 1_700_000_000, model: body.model }
  const withDelta = (delta: object, finish_reason: string | null = null) => ({
    ...head,
    choices: [{ index: 0, delta, finish_reason }],
  })

  function open(): void {
    if (response.headersSent || response.destroyed) return
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
    response.flushHeaders()
  }
  function raw(data: string | Uint8Array): void {
    open()
    if (!response.destroyed) response.write(data)
  }
  const chunk = (json: unknown) => raw(`data: ${JSON.stringify(json)}\n\n`)
  function delta(fields: object): void {
    if (!begun) chunk(withDelta({ role: 'assistant', content: '' }))
    begun = true
    chunk(withDelta(fields))
  }

  const answer: Answer = {
    open,
    raw,
    chunk,
    say(text) {
      said += text
      delta({ content: text })
    },
    reason: (text, field = 'reasoning_content') => delta({ [field]: text }),
    finish({ reason = 'stop', usage } = {}) {
      const prompt_tokens = body.messages.reduce((sum, message) => sum + countWords(message.content), 0)
      const completion_tokens = countWords(said)
      const counted = { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
      chunk(withDelta({}, reason))
      if (body.stream_options?.include_usage) {
        chunk({ ...head, choices: [], usage: usage === undefined ? counted : usage })
      }
      raw('data: [DONE]\n\n')
      response.end()
    },
    end() {
      open()
      response.end()
    },
    reset() {
      wasReset = true
      response.socket?.resetAndDestroy()
    },
    refuse(
      status,
      { headers = {}, body: text = JSON.stringify({ error: { message: `refused with ${status}` } }) } = {},
    ) {
      response.writeHead(status, { 'content-type': 'application/json', ...headers })
      response.end(text)
    },
    async flushed() {
      if (!response.destroyed && response.writableNeedDrain) {
        const { promise, resolve: go } = Promise.withResolvers<void>()
        response.once('drain', go).once('close', go)
        await promise
        response.off('drain', go).off('close', go)
      }
      return !response.destroyed
    },
  }

  const request: UpstreamRequest = {
    index,
    path: incoming.url ?? '/',
    headers: incoming.headers,
    body,
    over,
    get aborted() {
      return aborted
    },
  }
  return { answer, request }
}

/** Words between white space. */
export function countWords(text: string): number {
  return text.split(/\s+/u).filter((word) => word !== '').length
}
