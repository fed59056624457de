import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { COOL_OFF_MS, FAILURES } from '../../src/model/breaker.ts'
import { ERRORS } from '../../src/protocol/errors.ts'
import {
  ask,
  type ChatServer,
  ended,
  framesOf,
  STORES,
  say,
  settled,
  startChatServer,
  startClockedServer,
} from '../support/chat-server.ts'
import type { Frame } from '../support/client.ts'
import { textsOf } from '../support/client.ts'
import type { UpstreamRequest } from '../support/upstream-answer.ts'
import {
  badJson,
  cutShort,
  errorInStream,
  misshapen,
  reset,
  type Script,
  silence,
  stall,
  status,
  words,
} from '../support/upstream-scripts.ts'

/** Words that the scripts below put into what the upstream says; none may reach a user. */
const SECRET = 'upstream-secret-4711'

const FAULTS: Record<string, { script: Script; code: keyof typeof ERRORS; text?: string; requests: number }> = {
  '429': { script: status(429, { body: told() }), code: 'model_busy', requests: 3 },
  '429 for a used-up quota': {
    script: status(429, { body: JSON.stringify({ error: { message: SECRET, code: 'insufficient_quota' } }) }),
    code: 'model_busy',
    requests: 1,
  },
  '500': { script: status(500, { body: told() }), code: 'model_unavailable', requests: 3 },
  '503 that is no JSON': {
    script: status(503, { body: `<h1>${SECRET}</h1>` }),
    code: 'model_unavailable',
    requests: 3,
  },
  '401': { script: status(401, { body: told() }), code: 'model_refused', requests: 1 },
  '404': { script: status(404, { body: told() }), code: 'model_refused', requests: 1 },
  'bad JSON in mid-stream': { script: badJson({ after: 2 }), code: 'model_failed', text: 'one two ', requests: 1 },
  'a chunk of a wrong shape': {
    script: misshapen({ choices: SECRET }),
    code: 'model_failed',
    text: 'one two ',
    requests: 1,
  },
  'an error in the stream': {
    script: errorInStream({ message: SECRET, code: 'server_error' }),
    code: 'model_unavailable',
    text: 'one two ',
    requests: 1,
  },
  'an end without finish_reason': {
    script: cutShort({ after: 3 }),
    code: 'model_cut',
    text: 'one two three ',
    requests: 1,
  },
  'an end without anything': { script: cutShort({ after: 0 }), code: 'model_cut', requests: 3 },
  'a reset in mid-stream': { script: reset({ after: 2 }), code: 'model_cut', text: 'one two ', requests: 1 },
  'a reset before the headers': { script: reset({ beforeHeaders: true }), code: 'model_unavailable', requests: 3 },
}

function told(): string {
  return JSON.stringify({ error: { message: `${SECRET} is down`, type: SECRET, code: SECRET } })
}

/** The log has each request's attempt, in order, and before the request came: SPEC.md C15. */
async function expectLoggedBefore({ entriesOf, upstream }: ChatServer): Promise<void> {
  const attempts = await entriesOf('attempt')
  expect(upstream.requests.length).toBeLessThanOrEqual(attempts.length)
}

describe.each(STORES)('on %s', (store) => {
  test.each(Object.entries(FAULTS))(
    'C15 C16 %s is told in plain words, and retried only before the first chunk',
    async (_, fault) => {
      const chat = await startChatServer({ OPENAI_API_KEY: 'sk-very-private' }, { store })
      const client = await chat.join()
      chat.upstream.always(fault.script)
      const turn = await say(client, 'hello')
      const end = await ended(client, turn)
      expect(end).toMatchObject({ outcome: 'failed', finish_reason: null })
      expect(end.error).toEqual({ code: fault.code, content: ERRORS[fault.code].content })
      expect(textsOf(client.frames).get(turn) ?? '').toBe(fault.text ?? '')
      expect(chat.upstream.requests).toHaveLength(fault.requests)
      expect((await chat.entriesOf('attempt')).map(({ attempt }) => attempt)).toEqual(
        Array.from({ length: fault.requests }, (_, index) => index + 1),
      )
      expectPlain(client.frames, chat)
      expect(framesOf(client, 'typing')).toHaveLength(1)
      // The channel goes on.
      chat.upstream.always(words('fine again'))
      const next = await ask(client, 'and now?')
      expect(textsOf(client.frames).get(next)).toBe('fine again')
      await expectLoggedBefore(chat)
    },
  )

  test('C15 a retry that succeeds shows nothing of what failed', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    chat.upstream.next(status(500))
    chat.upstream.next(reset({ beforeHeaders: true }))
    const turn = await say(client, 'third time lucky')
    expect(await ended(client, turn)).toMatchObject({ outcome: 'completed' })
    expect(textsOf(client.frames).get(turn)).toBe('third time lucky')
    expect(framesOf(client, 'typing')).toHaveLength(1)
    expect(chat.upstream.requests).toHaveLength(3)
  })

  test('C15 each attempt is in the log before its request goes out', async () => {
    const chat = await startChatServer({ LLM_ATTEMPTS: '4' }, { store })
    const client = await chat.join()
    const atRequest: Promise<number>[] = []
    chat.upstream.always((answer, request: UpstreamRequest) => {
      atRequest.push(chat.entriesOf('attempt').then(({ length }) => length))
      if (request.index < 3) answer.refuse(500)
      else answer.finish()
    })
    await ask(client, 'hello')
    const logged = await Promise.all(atRequest)
    expect(logged).toHaveLength(4)
    for (const [index, attempts] of logged.entries()) expect(attempts).toBeGreaterThanOrEqual(index + 1)
  })

  test('C15 reasoning counts as a chunk: what comes after it is not retried', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    chat.upstream.next((answer) => {
      answer.reason('hm ')
      answer.end()
    })
    const turn = await say(client, 'hello')
    expect(await ended(client, turn)).toMatchObject({ outcome: 'failed', error: { code: 'model_cut' } })
    expect(chat.upstream.requests).toHaveLength(1)
  })
})

test('C15 LLM_ATTEMPTS=1 makes one request, and Retry-After is kept to by the clock', async () => {
  const once = await startChatServer({ LLM_ATTEMPTS: '1' })
  const client = await once.join()
  once.upstream.next(status(500))
  await ask(client, 'hello')
  expect(once.upstream.requests).toHaveLength(1)

  const { logger, logged } = createListener()
  const chat = await startClockedServer({ LLM_ATTEMPTS: '2' }, { logger })
  const patient = await chat.join()
  chat.upstream.next(status(429, { headers: { 'retry-after': '7' } }))
  const failed = logged('an attempt failed')
  const turn = await say(patient, 'hello')
  await failed
  chat.clock.advance(6_900)
  await settled(patient)
  expect(chat.upstream.requests).toHaveLength(1)
  chat.clock.advance(200)
  expect(await ended(patient, turn)).toMatchObject({ outcome: 'completed' })
})

test('C16 no first token within LLM_FIRST_TOKEN_TIMEOUT_MS: model_timeout, the request is let go of', async () => {
  const { logger, logged } = createListener()
  const chat = await startClockedServer({ LLM_FIRST_TOKEN_TIMEOUT_MS: '5000', LLM_ATTEMPTS: '2' }, { logger })
  const client = await chat.join()
  chat.upstream.always(silence())
  const turn = await say(client, 'hello')
  const first = await chat.upstream.request(0)
  chat.clock.advance(4_900)
  await settled(client)
  expect(first.aborted).toBe(false)
  const failed = logged('an attempt failed')
  chat.clock.advance(200)
  expect(await first.over).toBe('aborted')
  await failed
  chat.clock.advance(100)
  const second = await chat.upstream.request(1)
  chat.clock.advance(5_100)
  expect(await second.over).toBe('aborted')
  const end = await ended(client, turn)
  expect(end).toMatchObject({
    outcome: 'failed',
    error: { code: 'model_timeout', content: ERRORS.model_timeout.content },
  })
})

test('C16 no further token within LLM_IDLE_TIMEOUT_MS: model_timeout, the text is kept, nothing is retried', async () => {
  const chat = await startClockedServer({ LLM_IDLE_TIMEOUT_MS: '3000' })
  const client = await chat.join()
  chat.upstream.next(stall({ after: 2 }))
  const turn = await say(client, 'hello')
  await client.next('ai_stream_chunk', () => textsOf(client.frames).get(turn) === 'one two ')
  chat.clock.advance(2_900)
  await settled(client)
  expect(framesOf(client, 'ai_stream_end')).toEqual([])
  chat.clock.advance(3_200)
  expect(await ended(client, turn)).toMatchObject({ outcome: 'failed', error: { code: 'model_timeout' } })
  expect(textsOf(client.frames).get(turn)).toBe('one two ')
  expect(chat.upstream.requests).toHaveLength(1)
})

test('C16 an endpoint that keeps failing is left alone, and asked again after a while', async () => {
  const chat = await startClockedServer({ LLM_ATTEMPTS: '1' })
  const client = await chat.join()
  chat.upstream.always(status(500))
  for (let failure = 0; failure < FAILURES; failure++) await ask(client, 'hello')
  const before = chat.upstream.requests.length
  expect(before).toBe(FAILURES)
  const refused = await say(client, 'hello?')
  expect(await ended(client, refused)).toMatchObject({ outcome: 'failed', error: { code: 'model_unavailable' } })
  expect(chat.upstream.requests).toHaveLength(before)
  chat.upstream.always(words('back again'))
  chat.clock.advance(COOL_OFF_MS + 20)
  const turn = await say(client, 'hello!')
  expect(await ended(client, turn)).toMatchObject({ outcome: 'completed' })
  await expectLoggedBefore(chat)
})

test('C16 an upstream that is not there at all is told without its address', async () => {
  const chat = await startChatServer({ LLM_ATTEMPTS: '1' })
  const client = await chat.join()
  await chat.upstream.close()
  const turn = await say(client, 'hello')
  expect(await ended(client, turn)).toMatchObject({ outcome: 'failed', error: { code: 'model_unavailable' } })
  expectPlain(client.frames, chat)
})

test('C16 neither message text nor key nor what the upstream said is in the log of the server', async () => {
  const lines: string[] = []
  const logger = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
  const chat = await startChatServer({ OPENAI_API_KEY: 'sk-very-private', LLM_ATTEMPTS: '2' }, { logger })
  const client = await chat.join()
  chat.upstream.next(status(500, { body: told() }))
  chat.upstream.next(misshapen({ choices: SECRET }, { text: 'quite confidential words', after: 2 }))
  await ask(client, 'my private question')
  const all = lines.join('')
  expect(all).toContain('an attempt failed')
  for (const private_ of [SECRET, 'sk-very-private', 'private question', 'confidential'])
    expect(all).not.toContain(private_)
})

test('C12 Q4 with LLM_CONCURRENCY=1 turns wait for each other and are told their position, from 1', async () => {
  const chat = await startClockedServer({ LLM_CONCURRENCY: '1' })
  const [a, b, c] = [await chat.join('/ai-chat/a'), await chat.join('/ai-chat/b'), await chat.join('/ai-chat/c')]
  const answers = [chat.upstream.hold(), chat.upstream.hold(), chat.upstream.hold()]
  const first = await say(a, 'one')
  await answers[0]?.requested
  const second = await say(b, 'two')
  expect(await b.next('queued')).toEqual({ type: 'queued', turn_id: second, position: 1 })
  const third = await say(c, 'three')
  expect(await c.next('queued')).toEqual({ type: 'queued', turn_id: third, position: 2 })
  expect(framesOf(b, 'typing')).toEqual([])
  answers[0]?.finish()
  await ended(a, first)
  await answers[1]?.requested
  expect(await b.next('typing')).toMatchObject({ turn_id: second })
  chat.clock.advance(2_000)
  expect(await c.next('queued')).toEqual({ type: 'queued', turn_id: third, position: 1 })
  expect(chat.upstream.requests).toHaveLength(2)
  answers[1]?.finish()
  await answers[2]?.requested
  answers[2]?.finish()
  await ended(c, third)
})

test('C6 Q4 a turn that waits for the model can be stopped; one too many fails as model_busy', async () => {
  const chat = await startClockedServer({ LLM_CONCURRENCY: '1', LLM_QUEUE: '1' })
  const [a, b, c] = [await chat.join('/ai-chat/a'), await chat.join('/ai-chat/b'), await chat.join('/ai-chat/c')]
  const answer = chat.upstream.hold()
  const running = await say(a, 'one')
  await answer.requested
  const waiting = await say(b, 'two')
  await b.next('queued')
  const refused = await say(c, 'three')
  expect(await ended(c, refused)).toMatchObject({ outcome: 'failed', error: { code: 'model_busy' } })
  b.send({ type: 'stop' })
  expect(await ended(b, waiting)).toMatchObject({ outcome: 'stopped' })
  answer.finish()
  await ended(a, running)
  await ask(c, 'again')
  expect(chat.upstream.requests).toHaveLength(2)
})

/** No frame may tell anything of the upstream: not its words, its address, its key, nor the name of an error. */
function expectPlain(frames: readonly Frame[], { upstream }: ChatServer): void {
  const told = JSON.stringify(frames)
  const hidden = [
    SECRET,
    'sk-very-private',
    new URL(upstream.baseUrl).port,
    'refused with',
    'ECONN',
    'UND_ERR',
    'Error',
    '127.0.0.1',
  ]
  for (const detail of hidden) expect(told).not.toContain(detail)
}

/** A logger, and the moment after a server has logged something: what it led to has been done by then. */
function createListener() {
  const waiting: { text: string; resolve: () => void }[] = []
  const logger = pino(
    { level: 'trace' },
    {
      write(line: string) {
        for (const { text, resolve } of waiting) if (line.includes(text)) setImmediate(resolve)
      },
    },
  )
  const logged = (text: string) => new Promise<void>((resolve) => waiting.push({ text, resolve }))
  return { logger, logged }
}
