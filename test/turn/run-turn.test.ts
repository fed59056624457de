import { pino } from 'pino'
import { expect, test } from 'vitest'
import { createLocalQueue } from '../../src/coordination/local-queue.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import type { ChatModel, ModelEvent } from '../../src/model/chat-model.ts'
import { ModelError } from '../../src/model/chat-model.ts'
import type { Entry } from '../../src/protocol/entry.ts'
import { createTurnRunner } from '../../src/turn/run-turn.ts'
import type { TurnOptions } from '../../src/turn/turn.ts'
import { createFakeClock } from '../support/fake-clock.ts'

const BACKOFF_MS = 500

type Say = (signal: AbortSignal, attempt: number) => AsyncIterable<ModelEvent>

/** One turn on a log in memory, asked of a model that is a function. `fails` says which appends the log refuses. */
function startTurn(say: Say, { maxAnswerBytes = 1000, run = 1, fails = (_: Entry): boolean => false } = {}) {
  const clock = createFakeClock()
  const log = createMemoryLog()
  const entries: Entry[] = []
  const requests: string[] = []
  const unsaved: number[] = []
  const { promise, resolve: onEnded } = Promise.withResolvers<void>()
  const ended = promise.then(() => entries.findLast((entry) => entry.type === 'ai_stream_end')?.outcome)
  let attempt = 0
  const model: ChatModel = {
    description: 'a function',
    stream(_, signal) {
      requests.push(entries.map(({ type }) => type).join(' '))
      return say(signal, ++attempt)
    },
  }
  const options: TurnOptions = {
    turn_id: 't',
    run,
    isAsked: false,
    request: () => ({ messages: [{ role: 'user', content: 'hello' }], turn_id: 't', channel: 'chat/one' }),
    model,
    fairKey: 'somebody',
    async append(entry, producer, sequence) {
      if (fails(entry)) throw new Error('the disk is full')
      const appended = await log.append('chat/one', entry, { producer, sequence, seenHead: 0, epoch: 'e' })
      if (!appended.repeated) entries.push(entry)
      return appended
    },
    onPosition: () => {},
    onEnded,
    onUnsaved: () => unsaved.push(clock.now()),
  }
  const runTurn = createTurnRunner({
    clock,
    queue: createLocalQueue({ clock, concurrency: 1, limit: 1 }),
    logger: pino({ level: 'silent' }),
    maxAttempts: 3,
    backOffMs: BACKOFF_MS,
    maxAnswerBytes,
  })
  return { turn: runTurn(options), clock, entries, requests, unsaved, ended }
}

const text = (content: string): ModelEvent => ({ type: 'text', content })
const FINISH: ModelEvent = { type: 'finish', finish_reason: 'stop', usage: null }
const tick = () => new Promise(setImmediate)
const busy = () => new ModelError('model_busy', 'no', { retryable: true })
const types = (entries: readonly Entry[]) => entries.map(({ type }) => type)

/** Says some events, then nothing more until it is aborted. */
async function* sayAndWait(signal: AbortSignal, ...events: ModelEvent[]): AsyncGenerator<ModelEvent> {
  yield* events
  await new Promise((resolve) => signal.addEventListener('abort', resolve))
}

test('C2 C15 typing and the attempt are in the log before the model is asked', async () => {
  const { entries, requests, ended } = startTurn(async function* () {
    yield text('hello')
    yield FINISH
  })
  expect(await ended).toBe('completed')
  expect(requests).toEqual(['typing attempt'])
  expect(types(entries)).toEqual(['typing', 'attempt', 'ai_stream_chunk', 'ai_stream_end'])
})

test('C15 a failure before the first chunk is retried after a pause that doubles, typing is told once', async () => {
  const { entries, requests, clock, ended } = startTurn(async function* (_, attempt) {
    if (attempt < 3) throw busy()
    yield text('hello')
    yield FINISH
  })
  await tick()
  expect(requests).toHaveLength(1)
  clock.advance(BACKOFF_MS / 2 - 20)
  await tick()
  expect(requests).toHaveLength(1)
  clock.advance(BACKOFF_MS / 2 + 40)
  await tick()
  expect(requests).toHaveLength(2)
  clock.advance(BACKOFF_MS - 20)
  await tick()
  expect(requests).toHaveLength(2)
  clock.advance(BACKOFF_MS + 40)
  expect(await ended).toBe('completed')
  expect(types(entries)).toEqual(['typing', 'attempt', 'attempt', 'attempt', 'ai_stream_chunk', 'ai_stream_end'])
})

test('C15 a failure after the first chunk is not retried; its text is kept', async () => {
  const { entries, requests, ended } = startTurn(async function* () {
    yield text('so far')
    throw busy()
  })
  expect(await ended).toBe('failed')
  expect(requests).toHaveLength(1)
  expect(entries.slice(-2)).toMatchObject([{ content: 'so far' }, { outcome: 'failed', error: { code: 'model_busy' } }])
})

test('C3 a stream that ends without a finish is model_cut, what is no ModelError is model_failed', async () => {
  const cut = startTurn(async function* () {
    yield text('so far')
  })
  expect(await cut.ended).toBe('failed')
  expect(cut.entries.at(-1)).toMatchObject({ error: { code: 'model_cut' } })
  const thrown = startTurn(() => {
    throw new Error('a fault of the plugged-in model')
  })
  expect(await thrown.ended).toBe('failed')
  expect(thrown.entries.at(-1)).toMatchObject({ error: { code: 'model_failed' } })
  expect(thrown.requests).toHaveLength(1)
})

test.each(['stop', 'interrupt'] as const)(
  'C6 %s in every state: one end, the model aborted, the text kept',
  async (how) => {
    const outcome = how === 'stop' ? 'stopped' : 'interrupted'
    let signal: AbortSignal | undefined
    const streaming = startTurn((given) => {
      signal = given
      return sayAndWait(given, text('so far'))
    })
    await tick()
    streaming.turn[how]()
    streaming.turn[how]()
    expect(await streaming.ended).toBe(outcome)
    expect(signal?.aborted).toBe(true)
    expect(streaming.entries.slice(-2)).toMatchObject([{ content: 'so far' }, { outcome }])

    const requesting = startTurn((given) => sayAndWait(given))
    await tick()
    requesting.turn[how]()
    expect(await requesting.ended).toBe(outcome)

    const atOnce = startTurn((given) => sayAndWait(given))
    atOnce.turn[how]()
    expect(await atOnce.ended).toBe(outcome)
    expect(atOnce.requests).toEqual([])

    const backingOff = startTurn(() => {
      throw busy()
    })
    await tick()
    backingOff.turn[how]()
    expect(await backingOff.ended).toBe(outcome)
    backingOff.clock.advance(60_000)
    await tick()
    expect(backingOff.requests).toHaveLength(1)
    for (const { entries } of [streaming, requesting, atOnce, backingOff]) {
      expect(types(entries).filter((type) => type === 'ai_stream_end')).toHaveLength(1)
    }
  },
)

test('C17 an answer is cut at MAX_ANSWER_BYTES, and the model is aborted', async () => {
  let signal: AbortSignal | undefined
  const { entries, ended } = startTurn(
    (given) => {
      signal = given
      return sayAndWait(given, text('12345678'), text('€€'))
    },
    { maxAnswerBytes: 12 },
  )
  expect(await ended).toBe('completed')
  expect(signal?.aborted).toBe(true)
  const chunks = entries.flatMap((entry) => (entry.type === 'ai_stream_chunk' ? entry.content : []))
  expect(chunks.join('')).toBe('12345678€')
  expect(entries.at(-1)).toMatchObject({ finish_reason: 'length' })
})

test('an append that fails ends the turn as failed with storage; nothing of it is taken for said', async () => {
  let isFull = false
  const { entries, ended, unsaved, clock } = startTurn(
    async function* (signal) {
      yield text('saved ')
      await tick()
      isFull = true
      yield* sayAndWait(signal, text('not saved'))
    },
    { fails: () => isFull },
  )
  for (let wait = 0; wait < 5; wait++) await tick()
  expect(unsaved).toHaveLength(1)
  expect(types(entries)).toEqual(['typing', 'attempt', 'ai_stream_chunk'])
  // The end is tried until there is room again, and told once.
  clock.advance(3_000)
  await tick()
  expect(unsaved).toHaveLength(1)
  isFull = false
  clock.advance(1_100)
  expect(await ended).toBe('failed')
  expect(entries.at(-1)).toMatchObject({ outcome: 'failed', error: { code: 'storage' }, metadata: { total_words: 1 } })
})

test('C15 an attempt that cannot be logged makes no request', async () => {
  const { requests, ended, entries } = startTurn((signal) => sayAndWait(signal, text('never')), {
    fails: ({ type }) => type === 'attempt',
  })
  expect(await ended).toBe('failed')
  expect(requests).toEqual([])
  expect(entries.at(-1)).toMatchObject({ error: { code: 'storage' } })
})
