import { getEventListeners } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ChatModel, ModelEvent, ModelRequest } from '../../src/model/chat-model.ts'

/** One adapter, in the three moods that the contract needs. */
export interface ChatModelUnderTest {
  /** Answers at once; the answer holds the user's words. */
  readonly prompt: ChatModel
  /** Says one word, and then nothing for longer than any test. */
  readonly stalling: ChatModel
  /** Says nothing for longer than any test. */
  readonly silent: ChatModel
  /** Resolves when nothing is left of any stream: no timer, no request, no listener. */
  idle(): Promise<void>
  close(): Promise<void>
}

/** What a request in tests looks like. */
export function requestOf(content: string, before: ModelRequest['messages'] = []): ModelRequest {
  return {
    messages: [...before, { role: 'user', content }],
    turn_id: 'turn-1',
    channel: 'chat/test',
    principal: 'anonymous',
  }
}

/** Everything that a stream says, and what it threw, if anything. */
export async function collect(
  stream: AsyncIterable<ModelEvent>,
  onEvent: (event: ModelEvent) => void = () => {},
): Promise<{ events: ModelEvent[]; text: string; reasoning: string; error: unknown }> {
  const events: ModelEvent[] = []
  const said = { text: '', reasoning: '' }
  let error: unknown
  try {
    for await (const event of stream) {
      events.push(event)
      if (event.type !== 'finish') said[event.type] += event.content
      onEvent(event)
    }
  } catch (thrown) {
    error = thrown
  }
  return { events, ...said, error }
}

/** The promises of the chat-model port, whoever keeps them. */
export function chatModelContract(name: string, setUp: () => Promise<ChatModelUnderTest>): void {
  describe(`chat-model contract: ${name}`, () => {
    let under: ChatModelUnderTest
    beforeEach(async () => {
      under = await setUp()
    })
    afterEach(() => under.close())

    const types = (events: readonly ModelEvent[]) => events.map((event) => event.type)

    test('says text, and then finishes, once', async () => {
      const { events, text, error } = await collect(under.prompt.stream(requestOf('red green blue'), idleSignal()))
      expect(error).toBeUndefined()
      expect(text).toContain('red green blue')
      expect(types(events).indexOf('finish')).toBe(events.length - 1)
      expect(events.length).toBeGreaterThan(3)
      const finish = events.at(-1)
      if (finish?.type !== 'finish') throw new Error('the last event is no finish')
      expect(finish.finish_reason).toBe('stop')
      if (finish.usage !== null) {
        const { prompt_tokens, completion_tokens, total_tokens } = finish.usage
        expect(prompt_tokens).toBeGreaterThan(0)
        expect(total_tokens).toBe(prompt_tokens + completion_tokens)
      }
      await under.idle()
    })

    test('answers the last message of the user', async () => {
      const request = requestOf('newest', [
        { role: 'system', content: 'be kind' },
        { role: 'user', content: 'oldest' },
        { role: 'assistant', content: 'middle' },
      ])
      const { text } = await collect(under.prompt.stream(request, idleSignal()))
      expect(text).toContain('newest')
      expect(text).not.toContain('oldest')
    })

    test('keeps every character', async () => {
      const words = 'naïve  café 你好 👩‍👩‍👧 "quoted" \\ tab\there {"a":1}\ndata: [DONE]'
      const { text } = await collect(under.prompt.stream(requestOf(words), idleSignal()))
      expect(text).toContain(words)
    })

    test('streams do not mix', async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) => collect(under.prompt.stream(requestOf(`mark${i}.`), idleSignal()))),
      )
      for (const [i, { text }] of answers.entries()) expect(text.match(/mark\d+\./g)).toEqual([`mark${i}.`])
      await under.idle()
    })

    test('a stream that was aborted before it began says nothing', async () => {
      const { events } = await collect(under.prompt.stream(requestOf('too late'), AbortSignal.abort()))
      expect(events).toEqual([])
      await under.idle()
    })

    test('an abort while nothing was said ends the stream, and no finish comes', async () => {
      const abort = new AbortController()
      const collected = collect(under.silent.stream(requestOf('stop me'), abort.signal))
      await new Promise(setImmediate)
      abort.abort()
      expect((await collected).events).toEqual([])
      await under.idle()
    })

    test('an abort while it stalls ends the stream, and no finish comes', async () => {
      const abort = new AbortController()
      const { promise: spoken, resolve } = Promise.withResolvers<void>()
      const collected = collect(under.stalling.stream(requestOf('stop me'), abort.signal), () => resolve())
      await spoken
      await new Promise(setImmediate)
      abort.abort()
      expect(types((await collected).events)).toEqual(['text'])
      await under.idle()
    })

    test('an abort by the consumer itself, between two events, ends the stream, and no finish comes', async () => {
      const abort = new AbortController()
      const { events } = await collect(under.prompt.stream(requestOf('one two three'), abort.signal), () =>
        abort.abort(),
      )
      expect(types(events)).toEqual(['text'])
      await under.idle()
    })

    test('a consumer that walks away leaves nothing behind', async () => {
      for await (const event of under.stalling.stream(requestOf('bye now'), idleSignal())) {
        expect(event.type).toBe('text')
        break
      }
      await under.idle()
    })

    test('a stream that has ended, however it did, listens to its signal no more', async () => {
      const { signal } = new AbortController()
      await collect(under.prompt.stream(requestOf('one two'), signal))
      for await (const _ of under.stalling.stream(requestOf('one two'), signal)) break
      for await (const event of under.prompt.stream(requestOf('one two'), signal)) if (event.type === 'finish') break
      await under.idle()
      expect(getEventListeners(signal, 'abort')).toEqual([])
    })

    test('a stream that nobody reads does nothing', async () => {
      under.prompt.stream(requestOf('anyone?'), idleSignal())
      await new Promise(setImmediate)
      await under.idle()
    })

    test('it has a name for the start-up log', () => {
      expect(under.prompt.description).toMatch(/\S/)
    })
  })
}

/** A signal that never aborts. */
export function idleSignal(): AbortSignal {
  return new AbortController().signal
}
