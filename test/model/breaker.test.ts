import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createInterpretedHost } from '../../src/actor/interpreted-host.ts'
import { withBreaker } from '../../src/model/breaker.ts'
import { type ChatModel, ModelError } from '../../src/model/chat-model.ts'
import { createOpenAiModel } from '../../src/model/openai-model.ts'
import { createSimulatedModel } from '../../src/model/simulated-model.ts'
import { chatModelContract, collect, idleSignal, requestOf } from '../contracts/chat-model.ts'
import { createFakeClock, type FakeClock } from '../support/fake-clock.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { badJson, cutShort, echo, type Script, silence, stall, status } from '../support/upstream-scripts.ts'

const COOL_OFF_MS = 10_000
const FIRST_MS = 60_000

const OPEN = { code: 'model_unavailable', retryable: false, message: 'the circuit breaker is open' }

function rethrow(_: unknown, error: unknown): never {
  throw error
}

chatModelContract('a model behind a closed breaker', async () => {
  const clock = createFakeClock()
  const behind = (model: ChatModel) => withBreaker(model, { clock, onError: rethrow })
  return {
    prompt: behind(createSimulatedModel({ clock, delayMs: 0 })),
    stalling: behind(createSimulatedModel({ clock, delayMs: 3_600_000, thinkMs: 0 })),
    silent: behind(createSimulatedModel({ clock, delayMs: 3_600_000 })),
    async idle() {},
    async close() {},
  }
})

describe('the circuit breaker', () => {
  let upstream: Upstream
  let clock: FakeClock
  let model: ChatModel
  let states: string[]
  beforeEach(async () => {
    upstream = await startUpstream()
    clock = createFakeClock()
    states = []
    const timeouts = { firstTokenTimeoutMs: FIRST_MS, idleTimeoutMs: FIRST_MS }
    model = withBreaker(createOpenAiModel({ baseUrl: upstream.baseUrl, model: 'm', clock, ...timeouts }), {
      clock,
      failures: 3,
      coolOffMs: COOL_OFF_MS,
      onError: rethrow,
      onTransition(_, __, value) {
        const state = typeof value === 'string' ? value : Object.entries(value).flat().join('.')
        if (state !== states.at(-1)) states.push(state)
      },
    })
  })
  afterEach(() => upstream.close())

  const ask = (signal = idleSignal()) => collect(model.stream(requestOf('some words'), signal))

  async function failTimes(times: number, script: Script = status(500)): Promise<void> {
    for (let i = 0; i < times; i++) {
      upstream.next(script)
      expect((await ask()).error).toBeInstanceOf(ModelError)
    }
  }

  async function expectOpen(): Promise<void> {
    const before = upstream.requests.length
    const { error, events } = await ask()
    expect(error).toMatchObject(OPEN)
    expect(events).toEqual([])
    expect(upstream.requests.length).toBe(before)
  }

  async function expectWorking(): Promise<void> {
    expect(await ask()).toMatchObject({ text: 'some words', error: undefined })
  }

  test('it opens after so many failures in a row, and then makes no request', async () => {
    await failTimes(3)
    await expectOpen()
    expect(states).toEqual(['closed', 'open'])
    expect(upstream.requests.length).toBe(3)
  })

  test('a success in between begins the count anew', async () => {
    await failTimes(2)
    await expectWorking()
    await failTimes(2)
    await expectWorking()
    expect(states).toEqual(['closed'])
  })

  test.each<[string, Script]>([
    ['429', status(429)],
    ['401', status(401)],
    ['400', status(400)],
    ['bad JSON', badJson()],
  ])('%s is no failure of the endpoint', async (_, script) => {
    await failTimes(10, script)
    await expectWorking()
  })

  test('an answer that breaks off is one', async () => {
    await failTimes(3, cutShort())
    await expectOpen()
  })

  test('an answer that does not come is one', async () => {
    for (let i = 0; i < 3; i++) {
      upstream.next(silence())
      const asked = ask()
      await upstream.request(i)
      clock.advance(FIRST_MS + 100)
      expect((await asked).error).toMatchObject({ code: 'model_timeout' })
    }
    await expectOpen()
  })

  test('our own abort is none', async () => {
    for (let i = 0; i < 5; i++) {
      upstream.next(stall({ after: 1 }))
      const abort = new AbortController()
      const asked = ask(abort.signal)
      await upstream.request(i)
      abort.abort()
      await asked
    }
    await expectWorking()
    expect(states).toEqual(['closed'])
  })

  test('our own abort is none, also where a model calls it a failure', async () => {
    const abort = new AbortController()
    let asked = 0
    const loud: ChatModel = {
      description: 'loud',
      // biome-ignore lint/correctness/useYield: it fails before it says anything
      async *stream() {
        asked++
        abort.abort()
        throw new ModelError('model_cut', 'aborted', { retryable: true })
      },
    }
    model = withBreaker(loud, { clock, failures: 1, coolOffMs: COOL_OFF_MS, onError: rethrow })
    await ask(abort.signal)
    await ask()
    expect(asked).toBe(2)
  })

  test('a consumer that leaves at the finish has had a success', async () => {
    await failTimes(2)
    for await (const event of model.stream(requestOf('x'), idleSignal())) if (event.type === 'finish') break
    await failTimes(2)
    await expectWorking()
  })

  test('after the cool-off a probe that succeeds closes it', async () => {
    await failTimes(3)
    clock.advance(COOL_OFF_MS - 100)
    await expectOpen()
    clock.advance(200)
    await expectWorking()
    expect(states).toEqual(['closed', 'open', 'halfOpen.waiting', 'halfOpen.probing', 'closed'])
    await failTimes(2)
    await expectWorking()
  })

  test('a probe that fails opens it for another cool-off', async () => {
    await failTimes(3)
    clock.advance(COOL_OFF_MS + 100)
    await failTimes(1)
    await expectOpen()
    clock.advance(COOL_OFF_MS - 100)
    await expectOpen()
    clock.advance(200)
    await expectWorking()
  })

  test('a probe that is answered with 429 shows that the endpoint lives', async () => {
    await failTimes(3)
    clock.advance(COOL_OFF_MS + 100)
    await failTimes(1, status(429))
    expect(states.at(-1)).toBe('closed')
    // And the count begins anew.
    await failTimes(2)
    await expectWorking()
  })

  test('while the probe is on its way, others fail at once; its first token lets them through', async () => {
    await failTimes(3)
    clock.advance(COOL_OFF_MS + 100)
    const held = upstream.hold()
    const { promise: spoken, resolve } = Promise.withResolvers<void>()
    const probe = collect(model.stream(requestOf('x'), idleSignal()), () => resolve())
    await held.requested
    await expectOpen()
    held.say('back ')
    await spoken
    await expectWorking()
    held.finish()
    expect(await probe).toMatchObject({ text: 'back ', error: undefined })
  })

  test.each<[string, Script]>([
    ['before an answer', silence()],
    ['after the headers', stall()],
  ])('a probe that is aborted %s leaves the place to the next one', async (_, script) => {
    await failTimes(3)
    clock.advance(COOL_OFF_MS + 100)
    upstream.next(script)
    const abort = new AbortController()
    const probe = ask(abort.signal)
    await upstream.request(3)
    await expectOpen()
    abort.abort()
    await probe
    expect(states.at(-1)).toBe('halfOpen.waiting')
    await expectWorking()
  })

  test('a probe whose answer cannot be read leaves the place to the next one', async () => {
    await failTimes(3)
    clock.advance(COOL_OFF_MS + 100)
    await failTimes(1, badJson({ after: 0 }))
    await expectWorking()
  })

  test('a model that is slow to end after an abort does not hold the probe', async () => {
    const deaf: ChatModel = {
      description: 'deaf',
      async *stream() {
        await new Promise(() => {})
        yield { type: 'text', content: 'never' }
      },
    }
    let current: ChatModel = createOpenAiModel({
      baseUrl: upstream.baseUrl,
      model: 'm',
      clock,
      firstTokenTimeoutMs: FIRST_MS,
      idleTimeoutMs: FIRST_MS,
    })
    const working = current
    model = withBreaker(
      { description: 'changing', stream: (...asked) => current.stream(...asked) },
      {
        clock,
        failures: 1,
        coolOffMs: COOL_OFF_MS,
        onError: rethrow,
        createHost: createInterpretedHost,
      },
    )
    await failTimes(1)
    clock.advance(COOL_OFF_MS + 100)
    current = deaf
    const abort = new AbortController()
    void ask(abort.signal)
    await expectOpen()
    abort.abort()
    current = working
    await expectWorking()
  })

  test('the outcome of an attempt from before it opened does not decide for the probe', async () => {
    const early = upstream.hold()
    const earlyAnswer = ask()
    await early.requested
    await failTimes(3)
    clock.advance(COOL_OFF_MS + 100)
    const held = upstream.hold()
    const probe = ask()
    await held.requested
    early.refuse(500)
    expect((await earlyAnswer).error).toMatchObject({ code: 'model_unavailable' })
    expect(states.at(-1)).toBe('halfOpen.probing')
    held.say('x')
    held.finish()
    await probe
    expect(states.at(-1)).toBe('closed')
  })

  test('a probe after the endpoint has come back on the same port', async () => {
    const port = Number(new URL(upstream.baseUrl).port)
    await upstream.close()
    for (let i = 0; i < 3; i++) expect((await ask()).error).toMatchObject({ code: 'model_unavailable' })
    upstream = await startUpstream(port)
    upstream.always(echo())
    await expectOpen()
    clock.advance(COOL_OFF_MS + 100)
    await expectWorking()
  })
})
