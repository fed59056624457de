import { describe, expect, test } from 'vitest'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { ask, ended, framesOf, STORES, say, settled, startChatServer } from '../support/chat-server.ts'
import { connect, type Frame, textsOf } from '../support/client.ts'
import { startServer, temporaryDirectory } from '../support/server.ts'
import { reasoned, words } from '../support/upstream-scripts.ts'

test('C1 C2 a user message is answered by the simulated model, which repeats it', async () => {
  const server = await startServer()
  const client = await connect(`${server.url}/chat/one`)
  client.send({ type: 'user_message', content: 'hello big world', id: 'a' })
  const message = await client.next('user_message')
  expect(message).toMatchObject({ content: 'hello big world', id: 'a', offset: 1 })
  await client.next('typing')
  const end = await client.next('ai_stream_end')
  expect(end).toMatchObject({ outcome: 'completed', finish_reason: 'stop', turn_id: message.turn_id })
  expect(textsOf(client.frames).get(String(message.turn_id))).toContain('hello big world')
})

test('C1 nobody is shown a message before it is in the log', async () => {
  const inner = createMemoryLog()
  const { promise: asked, resolve: isAsked } = Promise.withResolvers<void>()
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const log = {
    ...inner,
    async append(...args: Parameters<typeof inner.append>) {
      isAsked()
      await released
      return inner.append(...args)
    },
  }
  const chat = await startChatServer({}, { log })
  const [sender, other] = [await chat.join(), await chat.join()]
  sender.send({ type: 'user_message', content: 'hello', id: 'a' })
  await asked
  await settled(sender)
  await settled(other)
  expect([...framesOf(sender, 'user_message'), ...framesOf(other, 'user_message')]).toEqual([])
  release()
  expect(await other.next('user_message')).toEqual(await sender.next('user_message'))
})

describe.each(STORES)('on %s', (store) => {
  test('C1 C4 two tabs see the message and the whole turn live, frame by frame the same', async () => {
    const chat = await startChatServer({}, { store })
    const tabs = [await chat.join(), await chat.join()] as const
    chat.upstream.next(words('some words for two tabs'))
    const turn = await ask(tabs[0], 'hello', { id: 'a' })
    await ended(tabs[1], turn)
    const [mine, theirs] = tabs.map(({ frames }) => frames.filter((frame) => 'turn_id' in frame))
    expect(mine).toEqual(theirs)
    expect(mine?.[0]).toMatchObject({ type: 'user_message', content: 'hello', id: 'a', turn_id: turn, offset: 1 })
    expect(textsOf(tabs[1].frames).get(turn)).toBe('some words for two tabs')
  })

  test('C2 typing comes first, then reasoning and text in order, then the end; indexes and offsets rise', async () => {
    const chat = await startChatServer({}, { store })
    chat.upstream.next(reasoned('let me think', 'the answer is here'))
    const client = await chat.join()
    const turn = await ask(client, 'why?')
    const frames = client.frames.filter((frame) => frame.turn_id === turn)
    const kinds = frames.map(({ type }) => type).filter((type, at, all) => type !== all[at - 1])
    expect(kinds).toEqual(['user_message', 'typing', 'ai_reasoning_chunk', 'ai_stream_chunk', 'ai_stream_end'])
    const reasoning = frames.filter(({ type }) => type === 'ai_reasoning_chunk').map(({ content }) => content)
    expect(reasoning.join('')).toBe('let me think')
    expect(textsOf(client.frames).get(turn)).toBe('the answer is here')
    const chunks = frames.filter(({ type }) => type.endsWith('_chunk'))
    expect(chunks.map(({ metadata }) => metadata)).toEqual(chunks.map((_, index) => ({ index })))
    const offsets = frames.map(({ offset }) => Number(offset))
    expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b))
  })

  test('C3 the end tells outcome, finish reason, usage and the number of words', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    chat.upstream.next((answer) => {
      answer.say('  two')
      answer.say(' wo')
      answer.say('rds\n\n and\tthree more ')
      answer.finish({ reason: 'length', usage: { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 } })
    })
    const turn = await say(client, 'hello')
    expect(await ended(client, turn)).toEqual({
      type: 'ai_stream_end',
      turn_id: turn,
      outcome: 'completed',
      finish_reason: 'length',
      usage: { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 },
      content: '',
      metadata: { total_words: 5 },
      offset: expect.any(Number),
    })
    expect(await chat.entriesOf('ai_stream_end')).toHaveLength(1)
  })

  test('C3 an upstream without usage ends with usage null, an empty answer as completed with no words', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    chat.upstream.next((answer) => answer.finish({ usage: null }))
    const turn = await say(client, 'hello')
    expect(await ended(client, turn)).toMatchObject({
      outcome: 'completed',
      finish_reason: 'stop',
      usage: null,
      metadata: { total_words: 0 },
    })
  })

  test('C4 a turn goes on when all sockets are closed; who joins finds it running, and then its end', async () => {
    const chat = await startChatServer({}, { store })
    const answer = chat.upstream.hold()
    const first = await chat.join()
    const turn = await say(first, 'hello')
    await answer.requested
    answer.say('before ')
    await first.next('ai_stream_chunk')
    await first.close()
    answer.say('while nobody was there ')
    const second = await chat.join()
    // Nothing tells from outside when the server has read the second piece: it comes by snapshot or live.
    answer.say('after')
    answer.finish()
    await ended(second, turn)
    expect(textsOf(second.frames).get(turn)).toBe('before while nobody was there after')
    const third = await chat.join()
    const history = await third.next('history')
    expect(history.messages).toMatchObject([
      { role: 'user', content: 'hello' },
      { role: 'assistant', content: 'before while nobody was there after', outcome: 'completed' },
    ])
  })

  test('C5 messages behind a running turn wait in order; the one too many is busy, and nothing is written', async () => {
    const chat = await startChatServer({ TURN_QUEUE: '2' }, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    const turns = [await say(client, 'one'), await say(client, 'two'), await say(client, 'three')]
    await answer.requested
    const before = await chat.entries()
    client.send({ type: 'user_message', content: 'four', id: 'four' })
    expect(await client.next('error')).toMatchObject({ code: 'busy', id: 'four' })
    expect(await chat.entries()).toEqual(before)
    answer.say('first')
    answer.finish()
    await ended(client, turns[2] as string)
    expect(framesOf(client, 'ai_stream_end').map(({ turn_id }) => turn_id)).toEqual(turns)
    expect(framesOf(client, 'user_message').map(({ content }) => content)).toEqual(['one', 'two', 'three'])
    expect([...textsOf(client.frames).values()]).toEqual(['first', 'two', 'three'])
    expect(chat.upstream.requests).toHaveLength(3)
    await ask(client, 'four', { id: 'four' })
  })

  test('C5 TURN_QUEUE=0 lets none wait', async () => {
    const chat = await startChatServer({ TURN_QUEUE: '0' }, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    const turn = await say(client, 'one')
    client.send({ type: 'user_message', content: 'two' })
    expect(await client.next('error')).toMatchObject({ code: 'busy' })
    await answer.requested
    answer.finish()
    await ended(client, turn)
  })

  test('C11 the model gets the system prompt and the last CONTEXT_MESSAGES of the conversation', async () => {
    const chat = await startChatServer({ CONTEXT_MESSAGES: '3', SYSTEM_PROMPT: 'Be kind.' }, { store })
    const client = await chat.join()
    chat.upstream.always((answer, request) => {
      answer.say(`answer ${request.index}`)
      answer.finish()
    })
    for (const content of ['zero', 'one', 'two']) await ask(client, content)
    const contexts = chat.upstream.requests.map(({ body }) => body.messages)
    const system = { role: 'system', content: 'Be kind.' }
    const [user, assistant] = ['user', 'assistant']
    expect(contexts[0]).toEqual([system, { role: user, content: 'zero' }])
    expect(contexts[1]).toEqual([
      system,
      { role: user, content: 'zero' },
      { role: assistant, content: 'answer 0' },
      { role: user, content: 'one' },
    ])
    expect(contexts[2]).toEqual([
      system,
      { role: user, content: 'one' },
      { role: assistant, content: 'answer 1' },
      { role: user, content: 'two' },
    ])
  })

  test('C11 a waiting message is not in the context of the turns before it, answers without text are left out', async () => {
    const chat = await startChatServer({ SYSTEM_PROMPT: '' }, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    await say(client, 'one')
    const second = await say(client, 'two')
    const first = (await answer.requested).body.messages
    answer.reason('only reasoning')
    answer.finish()
    await ended(client, second)
    expect(first).toEqual([{ role: 'user', content: 'one' }])
    expect(chat.upstream.requests[1]?.body.messages).toEqual([
      { role: 'user', content: 'one' },
      { role: 'user', content: 'two' },
    ])
  })

  test('C17 an answer that is too long ends at MAX_ANSWER_BYTES, within no character, and the request ends', async () => {
    const chat = await startChatServer({ MAX_ANSWER_BYTES: '256' }, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    const turn = await say(client, 'much, please')
    const request = await answer.requested
    answer.say('é'.repeat(100))
    answer.say('x€'.repeat(100))
    expect(await ended(client, turn)).toMatchObject({ outcome: 'completed', finish_reason: 'length' })
    const text = textsOf(client.frames).get(turn) ?? ''
    expect(text).toBe(('é'.repeat(100) + 'x€'.repeat(100)).slice(0, text.length))
    expect(Buffer.byteLength(text)).toBeGreaterThan(252)
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(256)
    expect(await request.over).toBe('aborted')
  })

  describe('C7 an id that is repeated', () => {
    const frames = [
      { type: 'user_message', content: 'again?' },
      { type: 'regenerate' },
      { type: 'conversation_start' },
      { type: 'conversation_end' },
    ]

    test.each(frames)('$type: on another socket, at once twice, and after a restart', async (frame) => {
      const dataDir = temporaryDirectory()
      const openPart = async () => {
        if (store === 'memory') return createMemoryLog()
        return (await import('../../src/log/sqlite-log.ts')).openSqliteLog({ dataDir })
      }
      const chat = await startChatServer({}, { log: await openPart() })
      const client = await chat.join()
      await ask(client, 'something before')
      const withId = { ...frame, id: 'the-id' }
      const answerType = frame.type === 'regenerate' ? 'typing' : frame.type
      const isAnswer = ({ id }: Frame) => id === 'the-id'

      // At once on two sockets: one is written, and both get the same frame.
      const second = await chat.join()
      client.send(withId)
      second.send(withId)
      const stored = await client.next(answerType, isAnswer)
      expect(await second.next(answerType, isAnswer)).toEqual(stored)
      if (frame.type === 'user_message' || frame.type === 'regenerate') {
        for (const one of [client, second]) await ended(one, String(stored.turn_id))
      }
      const entries = await chat.entries()
      const requests = chat.upstream.requests.length

      const third = await chat.join(second.resumeQuery)
      third.send(withId)
      expect(await third.next(answerType, isAnswer)).toEqual(stored)
      await settled(third)
      expect(await chat.entries()).toEqual(entries)
      expect(chat.upstream.requests).toHaveLength(requests)

      if (store === 'memory') return
      await chat.server.stop()
      const again = await startChatServer({}, { log: await openPart() })
      const returned = await again.join()
      returned.send(withId)
      expect(await returned.next(answerType, isAnswer)).toEqual(stored)
      await settled(returned)
      expect(await again.entries()).toEqual(entries)
      expect(again.upstream.requests).toHaveLength(0)
    })
  })

  test('C7 a second user_message with the same id answers its sender alone', async () => {
    const chat = await startChatServer({}, { store })
    const [sender, other] = [await chat.join(), await chat.join()]
    const turn = await ask(sender, 'hello', { id: 'a' })
    await ended(other, turn)
    sender.send({ type: 'user_message', content: 'something else', id: 'a' })
    const [first, repeat] = [framesOf(sender, 'user_message')[0], await sender.next('user_message')]
    expect(repeat).toEqual(first)
    await settled(other)
    expect(framesOf(other, 'user_message')).toHaveLength(1)
  })

  test('C7 a repeat while the turn runs, or while too many wait, is answered and not refused', async () => {
    const chat = await startChatServer({ TURN_QUEUE: '0' }, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    const turn = await say(client, 'hello', { id: 'a' })
    await answer.requested
    expect(await say(client, 'hello', { id: 'a' })).toBe(turn)
    answer.finish()
    await ended(client, turn)
    expect(framesOf(client, 'error')).toEqual([])
  })
})

test('C7 the same id of another principal is another id', async () => {
  const authenticate = ({ headers }: { headers: Readonly<Record<string, string>> }) => ({ id: headers['x-user'] ?? '' })
  const chat = await startChatServer({}, { authenticate })
  const url = `${chat.server.url}/ai-chat/one`
  const ann = await connect(url, { headers: { 'x-user': 'ann' } })
  const bob = await connect(url, { headers: { 'x-user': 'bob' } })
  const first = await ask(ann, 'mine', { id: 'a' })
  await ended(bob, first)
  expect(await ask(bob, 'his', { id: 'a' })).not.toBe(first)
})

test('C13 typing is told to the other members, and not to its sender', async () => {
  const chat = await startChatServer()
  const [typist, other] = [await chat.join(), await chat.join()]
  const { connection_id } = await typist.next('welcome')
  // Live members alone get signals: both have their snapshot when an answer has come.
  await settled(other)
  typist.send({ type: 'typing' })
  expect(await other.next('typing')).toEqual({ type: 'typing', client_id: connection_id })
  await settled(typist)
  expect(framesOf(typist, 'typing')).toEqual([])
  expect(await chat.entries()).toEqual([])
})
