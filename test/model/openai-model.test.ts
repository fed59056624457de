import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Clock } from '../../src/actor/clock.ts'
import { ModelError } from '../../src/model/chat-model.ts'
import { createOpenAiModel, type OpenAiModelOptions } from '../../src/model/openai-model.ts'
import { chatModelContract, collect, idleSignal, requestOf } from '../contracts/chat-model.ts'
import { createFakeClock, type FakeClock } from '../support/fake-clock.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import {
  badJson,
  bytewise,
  cutShort,
  echo,
  errorInStream,
  huge,
  misshapen,
  reasoned,
  reset,
  type Script,
  silence,
  stall,
  status,
  words,
} from '../support/upstream-scripts.ts'

const KEY = 'sk-test-0123456789abcdef'
const FIRST_MS = 30_000
const IDLE_MS = 5_000

function modelAt(upstream: Upstream, clock: Clock, more: Partial<OpenAiModelOptions> = {}) {
  return createOpenAiModel({
    apiKey: KEY,
    baseUrl: upstream.baseUrl,
    model: 'test-model',
    clock,
    firstTokenTimeoutMs: FIRST_MS,
    idleTimeoutMs: IDLE_MS,
    ...more,
  })
}

function countTimers(clock: Clock): { clock: Clock; timers(): number } {
  const set = new Set<object>()
  return {
    clock: {
      now: clock.now,
      setTimeout(callback, delayMs) {
        const timer = clock.setTimeout(callback, delayMs)
        set.add(timer)
        return timer
      },
      clearTimeout(timer) {
        set.delete(timer)
        clock.clearTimeout(timer)
      },
    },
    timers: () => set.size,
  }
}

chatModelContract('openai-model', async () => {
  const upstream = await startUpstream()
  const scripts: Record<string, Script> = { prompt: echo(), stalling: stall({ after: 1 }), silent: silence() }
  upstream.always((answer, request) => scripts[request.body.model]?.(answer, request))
  const { clock, timers } = countTimers(createFakeClock())
  return {
    prompt: modelAt(upstream, clock, { model: 'prompt' }),
    stalling: modelAt(upstream, clock, { model: 'stalling' }),
    silent: modelAt(upstream, clock, { model: 'silent' }),
    async idle() {
      await Promise.all(upstream.requests.map((request) => request.over))
      await vi.waitFor(() => expect(timers()).toBe(0), { interval: 1 })
    },
    close: upstream.close,
  }
})

describe('the openai model', () => {
  let upstream: Upstream
  let clock: FakeClock
  beforeEach(async () => {
    upstream = await startUpstream()
    clock = createFakeClock()
  })
  afterEach(() => {
    vi.unstubAllEnvs()
    vi.restoreAllMocks()
    return upstream.close()
  })

  /** What one stream says, the one request that it made, and how it failed. */
  async function ask(script?: Script, more?: Partial<OpenAiModelOptions>) {
    if (script !== undefined) upstream.next(script)
    const { error, ...said } = await collect(
      modelAt(upstream, clock, more).stream(requestOf('some words'), idleSignal()),
    )
    expect(upstream.requests.length).toBe(1)
    if (error !== undefined && !(error instanceof ModelError)) throw error
    return { ...said, error }
  }
  const shapeOf = (error: ModelError | undefined) => error && { code: error.code, retryable: error.retryable }

  describe('the request', () => {
    test('carries the context, the model, the key, and asks for usage', async () => {
      const request = requestOf('and now?', [
        { role: 'system', content: 'be kind' },
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: 'hello' },
      ])
      await collect(modelAt(upstream, clock).stream(request, idleSignal()))
      const [asked] = upstream.requests
      expect(asked?.body).toEqual({
        model: 'test-model',
        messages: request.messages,
        stream: true,
        stream_options: { include_usage: true },
      })
      expect(asked?.headers.authorization).toBe(`Bearer ${KEY}`)
    })

    test.each([undefined, ''])('goes out without a key where a local server needs none (%j)', async (apiKey) => {
      await ask(undefined, { apiKey })
      expect(upstream.requests[0]?.headers.authorization).toBe('Bearer none')
    })

    test('sends credentials and query of the base URL, and tells neither', async () => {
      const url = new URL(upstream.baseUrl)
      url.username = 'ann'
      url.password = 'p@ss'
      url.search = '?api-version=7'
      const model = modelAt(upstream, clock, { baseUrl: url.href })
      expect(await collect(model.stream(requestOf('hi'), idleSignal()))).toMatchObject({ text: 'hi', error: undefined })
      const [asked] = upstream.requests
      expect(asked?.headers.authorization).toBe(`Basic ${Buffer.from('ann:p@ss').toString('base64')}`)
      expect(asked?.path).toBe('/v1/chat/completions?api-version=7')
      expect(model.description).toBe(`test-model at ${upstream.baseUrl}`)
    })

    test("OpenAI's own environment goes to no other server", async () => {
      const names = [
        'OPENAI_API_KEY',
        'OPENAI_ADMIN_KEY',
        'OPENAI_ORG_ID',
        'OPENAI_PROJECT_ID',
        'OPENAI_WEBHOOK_SECRET',
      ]
      for (const name of names) vi.stubEnv(name, 'from-the-environment')
      await ask(undefined, { apiKey: undefined })
      expect(JSON.stringify(upstream.requests[0])).not.toContain('from-the-environment')
    })

    test('asks OpenAI itself where no base URL is given', () => {
      expect(modelAt(upstream, clock, { baseUrl: undefined }).description).toBe(
        'test-model at https://api.openai.com/v1',
      )
    })
  })

  describe('the answer', () => {
    test('usage comes in a chunk without choices', async () => {
      const { events } = await ask(words('one two three'))
      expect(events.at(-1)).toEqual({
        type: 'finish',
        finish_reason: 'stop',
        usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 },
      })
    })

    test.each(['reasoning_content', 'reasoning'] as const)('reasoning comes first, named %s', async (field) => {
      const { events, text, reasoning } = await ask(reasoned('let me think', 'it is so', field))
      expect([reasoning, text]).toEqual(['let me think', 'it is so'])
      expect(events.map(({ type }) => type).join(' ')).toMatch(/^(reasoning )+(text )+finish$/)
    })

    test.each([1, 2, 3, 7, 50])('bytes that come %i at a time make the same text', async (bytes) => {
      const text = 'naïve café 你好 👩‍👩‍👧 end'
      expect(await ask(bytewise(text, bytes))).toMatchObject({ text, error: undefined })
    })

    test('a chunk may be huge', async () => {
      const { text, error } = await ask(huge(5_000_000))
      expect(error).toBeUndefined()
      expect(text.length).toBe(5_000_000)
    })

    test('what other servers do is taken: nulls, comments, CRLF, fields of their own, usage anywhere or malformed', async () => {
      const { events, error } = await ask((answer) => {
        answer.raw(': keep-alive\r\n\r\n')
        answer.raw(
          'event: message\r\ndata:{"choices":[{"delta":{"role":"assistant","content":null,"x":{}}}],"y":[]}\r\n\r\n',
        )
        answer.chunk({ choices: [] })
        answer.chunk({
          choices: [{ delta: { content: 'a', reasoning_content: null }, finish_reason: '' }],
          usage: null,
        })
        answer.chunk({ choices: [{ delta: { reasoning: 'r', content: 'b' }, finish_reason: null }], usage: 'much' })
        answer.chunk({ choices: [{ delta: { refusal: 'c', content: null } }] })
        answer.chunk({ choices: [{ delta: null, finish_reason: 'length' }] })
        answer.chunk({ usage: { prompt_tokens: 1, completion_tokens: 2 } })
        answer.chunk({ choices: [], usage: { prompt_tokens: -1, completion_tokens: '2' } })
        answer.end()
      })
      expect(error).toBeUndefined()
      expect(events).toEqual([
        { type: 'text', content: 'a' },
        { type: 'reasoning', content: 'r' },
        { type: 'text', content: 'b' },
        { type: 'text', content: 'c' },
        { type: 'finish', finish_reason: 'length', usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } },
      ])
    })

    test('an empty answer is an answer', async () => {
      const { events } = await ask((answer) => answer.finish({ reason: 'content_filter', usage: null }))
      expect(events).toEqual([{ type: 'finish', finish_reason: 'content_filter', usage: null }])
    })

    test('once it has its finish reason, an answer is whole, whatever becomes of the rest', async () => {
      const finish = { choices: [{ delta: {}, finish_reason: 'stop' }] }
      const whole = [
        { type: 'text', content: 'all' },
        { type: 'finish', finish_reason: 'stop', usage: null },
      ]
      for (const spoil of ['{"choices":3}', '{not json', '{"error":{"code":500}}']) {
        upstream.next((answer) => {
          answer.say('all')
          answer.chunk(finish)
          answer.raw(`data: ${spoil}\n\n`)
          answer.end()
        })
      }
      const held = upstream.hold()
      const model = modelAt(upstream, clock)
      const stream = () => model.stream(requestOf('x'), idleSignal())
      for (let i = 0; i < 3; i++) expect((await collect(stream())).events).toEqual(whole)
      const { promise: spoken, resolve } = Promise.withResolvers<void>()
      const stalled = collect(stream(), () => resolve())
      await held.requested
      // In one piece, so that the finish has been read when the text comes out.
      held.raw(`data: {"choices":[{"delta":{"content":"all"}}]}\n\ndata: ${JSON.stringify(finish)}\n\n`)
      await spoken
      await new Promise(setImmediate)
      clock.advance(IDLE_MS + 100)
      expect((await stalled).events).toEqual(whole)
    })

    test('one socket serves answer after answer, also when the end comes after [DONE]', async () => {
      const { clock: counted, timers } = countTimers(clock)
      const model = modelAt(upstream, counted)
      for (let i = 0; i < 5; i++) {
        const held = upstream.hold()
        const collected = collect(model.stream(requestOf('x'), idleSignal()))
        const { over } = await held.requested
        held.raw('data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        expect((await collected).error).toBeUndefined()
        expect(timers()).toBe(1)
        held.end()
        expect(await over).toBe('answered')
        await vi.waitFor(() => expect(timers()).toBe(0), { interval: 1 })
        await new Promise(setImmediate)
      }
      expect(upstream.connections().ever).toBe(1)
    })

    test('an upstream that never ends after [DONE] is let go', async () => {
      const held = upstream.hold()
      const collected = collect(modelAt(upstream, clock).stream(requestOf('x'), idleSignal()))
      const { over } = await held.requested
      held.say('x')
      held.raw('data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
      expect((await collected).error).toBeUndefined()
      clock.advance(1_000)
      expect(await over).toBe('aborted')
    })
  })

  describe('failures, as the port names them', () => {
    const BUSY = { code: 'model_busy', retryable: true }
    const UNAVAILABLE = { code: 'model_unavailable', retryable: true }
    const REFUSED = { code: 'model_refused', retryable: false }
    const FAILED = { code: 'model_failed', retryable: false }
    const CUT = { code: 'model_cut', retryable: true }

    test.each([
      [429, BUSY],
      [500, UNAVAILABLE],
      [502, UNAVAILABLE],
      [503, UNAVAILABLE],
      [529, UNAVAILABLE],
      [408, UNAVAILABLE],
      [409, UNAVAILABLE],
      [400, REFUSED],
      [401, REFUSED],
      [403, REFUSED],
      [404, REFUSED],
      [422, REFUSED],
    ])('C16 status %i, asked once', async (code, expected) => {
      const { error, events } = await ask(status(code))
      expect(shapeOf(error)).toEqual(expected)
      expect(error?.message).toBe(`the model answered ${code}`)
      expect(events).toEqual([])
    })

    test.each<[Record<string, string>, number | undefined]>([
      [{ 'retry-after': '2' }, 2000],
      [{ 'retry-after': '0.5' }, 500],
      [{ 'retry-after-ms': '150', 'retry-after': '9' }, 150],
      [{ 'retry-after': 'soon' }, undefined],
      [{ 'retry-after': '-1' }, undefined],
      [{}, undefined],
    ])('%j is a pause of %j ms', async (headers, expected) => {
      const { error } = await ask(status(429, { headers }))
      expect(error?.retryAfterMs).toBe(expected)
    })

    test('retry-after may be a date', async () => {
      const { error } = await ask(
        status(503, { headers: { 'retry-after': new Date(Date.now() + 60_000).toUTCString() } }),
      )
      expect(error?.retryAfterMs).toBeGreaterThan(50_000)
      expect(error?.retryAfterMs).toBeLessThanOrEqual(60_000)
    })

    test('a used-up quota is no reason to try again', async () => {
      const body = JSON.stringify({ error: { message: 'pay', code: 'insufficient_quota' } })
      const { error } = await ask(status(429, { body }))
      expect(shapeOf(error)).toEqual({ code: 'model_busy', retryable: false })
      expect(error?.message).toBe('the model answered 429 (insufficient_quota)')
    })

    test('C16 nothing that the upstream says, and no key, gets into the error', async () => {
      const body = JSON.stringify({ error: { message: `bad key ${KEY} for some words`, code: KEY, type: KEY } })
      const { error } = await ask(status(401, { body }))
      expect(error?.cause).toBeUndefined()
      expect(JSON.stringify({ ...error, message: error?.message, stack: error?.stack })).not.toMatch(
        /sk-|bad key|words/,
      )
    })

    test.each(['', '<html>', '"text"', 'null', '[]', '{"error":"text"}'])(
      'an error body may be anything: %s',
      async (body) => {
        expect(shapeOf((await ask(status(500, { body }))).error)).toEqual(UNAVAILABLE)
      },
    )

    test('nobody listens', async () => {
      const gone = await startUpstream()
      await gone.close()
      const { error } = await collect(modelAt(gone, clock).stream(requestOf('x'), idleSignal()))
      expect(error).toMatchObject({ ...UNAVAILABLE, message: 'the model cannot be reached (ECONNREFUSED)' })
    })

    test('a reset before the headers', async () => {
      expect(shapeOf((await ask(reset({ beforeHeaders: true }))).error)).toEqual(UNAVAILABLE)
    })

    test('a reset after the headers, before the first chunk', async () => {
      expect(shapeOf((await ask(reset({ after: 0 }))).error)).toEqual(UNAVAILABLE)
    })

    test('a reset in mid-stream keeps what was said', async () => {
      const { error, text } = await ask(reset({ after: 2 }))
      expect(shapeOf(error)).toEqual(CUT)
      expect(text).toBe('one two ')
    })

    test.each([0, 2])('an end without a finish reason after %i words', async (after) => {
      const { error, events } = await ask(cutShort({ after }))
      expect(shapeOf(error)).toEqual(CUT)
      expect(events.length).toBe(after)
    })

    test('[DONE] without a finish reason', async () => {
      const { error } = await ask((answer) => {
        answer.say('half')
        answer.raw('data: [DONE]\n\n')
        answer.end()
      })
      expect(shapeOf(error)).toEqual(CUT)
    })

    test('an answer that is no event stream', async () => {
      expect(shapeOf((await ask(status(200, { body: '<html>log in first</html>' }))).error)).toEqual(CUT)
    })

    test('bad JSON in the stream, and nothing on the console', async () => {
      const spies = [vi.spyOn(console, 'error'), vi.spyOn(console, 'warn'), vi.spyOn(console, 'log')]
      const { error, text } = await ask(badJson())
      expect(shapeOf(error)).toEqual(FAILED)
      expect(text).toBe('one two ')
      for (const spy of spies) expect(spy).not.toHaveBeenCalled()
    })

    test.each([
      3,
      'text',
      null,
      {},
      { choices: {} },
      { choices: [null] },
      { choices: [{ delta: 'x' }] },
      { choices: [{ delta: [] }] },
      { choices: [{ delta: { content: 3 } }] },
      { choices: [{ delta: { content: ['x'] } }] },
      { choices: [{ delta: { reasoning_content: {} } }] },
      { choices: [{ delta: {}, finish_reason: 3 }] },
    ])('a chunk of the wrong shape: %j', async (json) => {
      const { error, text } = await ask(misshapen(json))
      expect(shapeOf(error)).toEqual(FAILED)
      expect(text).toBe('one two ')
    })

    test.each([
      [{ code: 429 }, BUSY],
      [{ code: '503', message: 'x' }, UNAVAILABLE],
      [{ code: 400, type: 'BadRequestError' }, REFUSED],
      [{ code: 'rate_limit_exceeded' }, BUSY],
      [{ code: 'insufficient_quota' }, { code: 'model_busy', retryable: false }],
      [{ type: 'server_error', code: null }, UNAVAILABLE],
      [{ type: 'InternalServerError' }, UNAVAILABLE],
      [{ type: 'overloaded_error' }, UNAVAILABLE],
      [{ type: 'invalid_request_error', code: 'context_length_exceeded' }, REFUSED],
      [{ message: 'no idea' }, FAILED],
      ['text', FAILED],
      [[], FAILED],
      [{ code: { nested: 1 } }, FAILED],
    ])('an error object in the stream: %j', async (sent, expected) => {
      const { error, text } = await ask(errorInStream(sent))
      expect(shapeOf(error)).toEqual(expected)
      expect(text).toBe('one two ')
    })
  })

  test.each<[string, Script]>([
    ['a consumer that breaks off', stall({ after: 1 })],
    ['a chunk of the wrong shape', (answer) => answer.chunk(3)],
    ['an error object', (answer) => answer.chunk({ error: {} })],
    ['bad JSON', (answer) => answer.raw('data: {\n\n')],
  ])('the socket is closed after %s, though the upstream would go on', async (_, script) => {
    upstream.next(script)
    const consume = async () => {
      for await (const event of modelAt(upstream, clock).stream(requestOf('x'), idleSignal())) return event.type
      return 'nothing'
    }
    const consumed = consume().catch((error: unknown) => error)
    expect(await (await upstream.request(0)).over).toBe('aborted')
    const outcome = await consumed
    if (outcome !== 'text') expect(outcome).toMatchObject({ code: 'model_failed' })
  })

  describe('patience', () => {
    const TIMEOUT = { code: 'model_timeout', retryable: true }

    test.each<[string, Script]>([
      ['no headers', silence()],
      ['headers only', stall()],
      ['chunks without text', (answer) => answer.chunk({ choices: [{ delta: { role: 'assistant', content: '' } }] })],
      ['an error status whose body never ends', (answer) => answer.raw('{')],
    ])('the first token is waited for so long: %s', async (_, script) => {
      upstream.next(script)
      const collected = collect(modelAt(upstream, clock).stream(requestOf('x'), idleSignal()))
      const { over } = await upstream.request(0)
      clock.advance(FIRST_MS - 100)
      await new Promise(setImmediate)
      expect(await Promise.race([collected, 'waiting'])).toBe('waiting')
      clock.advance(200)
      const { error } = await collected
      expect(error).toMatchObject(TIMEOUT)
      expect(await over).toBe('aborted')
    })

    test('each further token is waited for so long, counted from the one before', async () => {
      const held = upstream.hold()
      const arrivals: PromiseWithResolvers<void>[] = [0, 1, 2].map(() => Promise.withResolvers())
      let count = 0
      const collected = collect(modelAt(upstream, clock).stream(requestOf('x'), idleSignal()), () => {
        arrivals[count++]?.resolve()
      })
      const { over } = await held.requested
      for (const arrival of arrivals) {
        held.say('word ')
        await arrival.promise
        await new Promise(setImmediate)
        clock.advance(IDLE_MS - 100)
        await new Promise(setImmediate)
        expect(await Promise.race([collected, 'waiting'])).toBe('waiting')
      }
      clock.advance(200)
      const { error, text } = await collected
      expect(error).toMatchObject(TIMEOUT)
      expect(text).toBe('word word word ')
      expect(await over).toBe('aborted')
    })

    test("the consumer's own time does not count", async () => {
      upstream.next(words('one two three'))
      let text = ''
      for await (const event of modelAt(upstream, clock).stream(requestOf('x'), idleSignal())) {
        clock.advance(IDLE_MS * 10)
        if (event.type === 'text') text += event.content
      }
      expect(text).toBe('one two three')
    })
  })

  describe('an abort closes the socket to the upstream', () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage: () => void = runInNewContext('gc')

    test.each<[string, Script, number]>([
      ['before the headers', silence(), 0],
      ['after the headers', stall(), 0],
      ['between tokens', words('one two three four', { delayMs: 20 }), 2],
      ['while it stalls', stall({ after: 2 }), 2],
    ])('C6 %s', async (_, script, after) => {
      upstream.next(script)
      const abort = new AbortController()
      const { promise: reached, resolve } = Promise.withResolvers<void>()
      let count = 0
      const collected = collect(modelAt(upstream, clock).stream(requestOf('x'), abort.signal), () => {
        if (++count === after) resolve()
      })
      const request = await upstream.request(0)
      if (after > 0) await reached
      // Nothing tells when headers have come in.
      else await new Promise((go) => setTimeout(go, 20))
      // The SDK keeps weak references to signals.
      collectGarbage()
      expect(request.aborted).toBe(false)
      abort.abort()
      expect(await request.over).toBe('aborted')
      const { events, error } = await collected
      expect(events.map(({ type }) => type)).not.toContain('finish')
      expect(error).toBeUndefined()
    })

    test('C6 also when the consumer has not come back for the next event', async () => {
      upstream.next(stall({ after: 1 }))
      const abort = new AbortController()
      const stream = modelAt(upstream, clock).stream(requestOf('x'), abort.signal)[Symbol.asyncIterator]()
      expect(await stream.next()).toMatchObject({ value: { type: 'text' } })
      const request = await upstream.request(0)
      abort.abort()
      expect(await request.over).toBe('aborted')
      expect(await stream.next()).toEqual({ done: true, value: undefined })
    })
  })
})
