import { describe, expect, test } from 'vitest'
import { ask, ended, framesOf, STORES, say, settled, startChatServer } from '../support/chat-server.ts'
import { type Client, textsOf } from '../support/client.ts'
import { silence, status, words } from '../support/upstream-scripts.ts'

async function regenerate(client: Client, id?: string): Promise<string> {
  client.send({ type: 'regenerate', ...(id !== undefined && { id }) })
  const { turn_id } = await client.next('typing', ({ regenerates }) => regenerates !== undefined)
  return String(turn_id)
}

describe.each(STORES)('on %s', (store) => {
  test('C8 a new answer replaces the old one in context and history, and the log keeps both', async () => {
    const chat = await startChatServer({ SYSTEM_PROMPT: '' }, { store })
    const [client, other] = [await chat.join(), await chat.join()]
    chat.upstream.next(words('first answer'))
    const first = await ask(client, 'question')
    chat.upstream.next(words('second answer'))
    client.send({ type: 'regenerate', id: 'r' })
    const typing = await client.next('typing', ({ regenerates }) => regenerates === first)
    const second = String(typing.turn_id)
    expect(second).not.toBe(first)
    expect(typing).toEqual({ type: 'typing', turn_id: second, regenerates: first, id: 'r', offset: expect.any(Number) })
    await ended(client, second)
    expect(await other.next('typing', ({ turn_id }) => turn_id === second)).toEqual(typing)

    chat.upstream.next(words('third answer'))
    const third = await regenerate(client)
    await ended(client, third)
    await ask(client, 'next question')
    const contexts = chat.upstream.requests.map(({ body }) => body.messages)
    expect(contexts[1]).toEqual([{ role: 'user', content: 'question' }])
    expect(contexts[2]).toEqual(contexts[1])
    expect(contexts[3]).toEqual([
      { role: 'user', content: 'question' },
      { role: 'assistant', content: 'third answer' },
      { role: 'user', content: 'next question' },
    ])
    const joiner = await chat.join()
    expect((await joiner.next('history')).messages).toMatchObject([
      { role: 'user', content: 'question', turn_id: first },
      { role: 'assistant', content: 'third answer', turn_id: third, outcome: 'completed' },
      { role: 'user', content: 'next question' },
      { role: 'assistant', content: 'next question' },
    ])
    const kept = (await chat.entriesOf('ai_stream_end')).map(({ turn_id }) => turn_id)
    expect(kept.slice(0, 3)).toEqual([first, second, third])
    expect(textsOf(client.frames).get(first)).toBe('first answer')
  })

  test('C8 who joins in the midst of it sees the new answer grow, and not the old one', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    const first = await ask(client, 'question')
    const answer = chat.upstream.hold()
    const second = await regenerate(client)
    await answer.requested
    answer.say('anew')
    await client.next('ai_stream_chunk', ({ turn_id }) => turn_id === second)
    const joiner = await chat.join()
    expect((await joiner.next('history')).messages).toMatchObject([{ role: 'user', content: 'question' }])
    expect(await joiner.next('typing')).toEqual({ type: 'typing', turn_id: second, regenerates: first })
    answer.finish()
    await ended(joiner, second)
    expect(textsOf(joiner.frames).get(second)).toBe('anew')
  })

  test('C8 busy while a turn runs or waits; nothing_to_regenerate without a message', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    client.send({ type: 'regenerate', id: 'r' })
    expect(await client.next('error')).toMatchObject({ code: 'nothing_to_regenerate', id: 'r' })
    const answer = chat.upstream.hold()
    const turn = await say(client, 'hello')
    client.send({ type: 'regenerate' })
    expect(await client.next('error')).toMatchObject({ code: 'busy' })
    await answer.requested
    answer.finish()
    await ended(client, turn)
    client.send({ type: 'conversation_end' })
    await client.next('conversation_end')
    client.send({ type: 'regenerate' })
    expect(await client.next('error')).toMatchObject({ code: 'nothing_to_regenerate' })
  })

  test('C8 C7 two at once under one id make one answer', async () => {
    const chat = await startChatServer({}, { store })
    const [client, other] = [await chat.join(), await chat.join()]
    const first = await ask(client, 'hello')
    await ended(other, first)
    client.send({ type: 'regenerate', id: 'r' })
    other.send({ type: 'regenerate', id: 'r' })
    const { turn_id } = await client.next('typing', ({ id }) => id === 'r')
    await ended(client, String(turn_id))
    await ended(other, String(turn_id))
    await settled(other)
    expect(chat.upstream.requests).toHaveLength(2)
    expect([...framesOf(client, 'error'), ...framesOf(other, 'error')]).toEqual([])
  })

  test('C8 a stopped and a failed answer can be made anew; the context has the message once', async () => {
    const chat = await startChatServer({ SYSTEM_PROMPT: '', LLM_ATTEMPTS: '1' }, { store })
    const client = await chat.join()
    chat.upstream.next(silence())
    const stopped = await say(client, 'hello')
    await chat.upstream.request(0)
    client.send({ type: 'stop' })
    expect(await ended(client, stopped)).toMatchObject({ outcome: 'stopped' })
    chat.upstream.next(status(500))
    const failed = await regenerate(client)
    expect(await ended(client, failed)).toMatchObject({ outcome: 'failed' })
    chat.upstream.next(words('at last'))
    const done = await regenerate(client)
    expect(await ended(client, done)).toMatchObject({ outcome: 'completed' })
    expect(chat.upstream.requests[2]?.body.messages).toEqual([{ role: 'user', content: 'hello' }])
    expect(await chat.entriesOf('ai_stream_end')).toHaveLength(3)
  })

  test('C8 C6 a regenerated answer can be stopped', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    await ask(client, 'hello')
    chat.upstream.next(silence())
    const turn = await regenerate(client)
    client.send({ type: 'stop', turn_id: turn })
    expect(await ended(client, turn)).toMatchObject({ outcome: 'stopped' })
  })
})
