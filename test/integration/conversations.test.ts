import { describe, expect, test } from 'vitest'
import { openSqliteLog } from '../../src/log/sqlite-log.ts'
import { ask, ended, framesOf, STORES, say, startChatServer } from '../support/chat-server.ts'
import { temporaryDirectory } from '../support/server.ts'

describe.each(STORES)('on %s', (store) => {
  test('C9 conversation_start makes the context and the history start afresh, and is told to all', async () => {
    const chat = await startChatServer({ SYSTEM_PROMPT: '' }, { store })
    const [client, other] = [await chat.join(), await chat.join()]
    await ask(client, 'before', { conversation_id: 'first' })
    client.send({ type: 'conversation_start', id: 'a', conversation_id: 'second', metadata: { any: 'thing' } })
    const started = await client.next('conversation_start')
    expect(started).toMatchObject({ conversation_id: 'second', id: 'a', offset: expect.any(Number) })
    expect(await other.next('conversation_start')).toEqual(started)
    await ask(client, 'after')
    expect(chat.upstream.requests[1]?.body.messages).toEqual([{ role: 'user', content: 'after' }])
    const joiner = await chat.join()
    expect(await joiner.next('history')).toMatchObject({
      conversation_id: 'second',
      messages: [{ content: 'after' }, { content: 'after' }],
    })
  })

  test('C9 conversation_end ends the current one; the next message begins another', async () => {
    const chat = await startChatServer({ SYSTEM_PROMPT: '' }, { store })
    const client = await chat.join()
    await ask(client, 'before')
    const conversation_id = (await chat.entriesOf('user_message'))[0]?.conversation_id
    client.send({ type: 'conversation_end', id: 'e' })
    expect(await client.next('conversation_end')).toMatchObject({ conversation_id, id: 'e' })
    const joiner = await chat.join()
    const history = await joiner.next('history')
    expect(history.messages).toEqual([])
    expect(history).not.toHaveProperty('conversation_id')
    await ask(client, 'after')
    expect(chat.upstream.requests[1]?.body.messages).toEqual([{ role: 'user', content: 'after' }])
    const ids = (await chat.entriesOf('user_message')).map((message) => message.conversation_id)
    expect(new Set(ids).size).toBe(2)
  })

  test('C9 without a current conversation a message starts one under its own unused id', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    await ask(client, 'one', { conversation_id: 'mine' })
    await ask(client, 'two', { conversation_id: 'mine' })
    client.send({ type: 'conversation_end', conversation_id: 'mine' })
    await client.next('conversation_end')
    client.send({ type: 'user_message', content: 'three', conversation_id: 'mine', id: 'x' })
    expect(await client.next('error')).toMatchObject({ code: 'conversation_mismatch', id: 'x' })
    await ask(client, 'three', { conversation_id: 'mine again' })
    const ids = (await chat.entriesOf('user_message')).map(({ conversation_id }) => conversation_id)
    expect(ids).toEqual(['mine', 'mine', 'mine again'])
  })

  test('C9 a conversation_id that was used before gets conversation_exists', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    client.send({ type: 'conversation_start', conversation_id: 'one' })
    await client.next('conversation_start')
    client.send({ type: 'conversation_start', conversation_id: 'two' })
    await client.next('conversation_start')
    for (const conversation_id of ['one', 'two']) {
      client.send({ type: 'conversation_start', conversation_id, id: 'x' })
      expect(await client.next('error')).toMatchObject({ code: 'conversation_exists', id: 'x' })
    }
    expect(await chat.entries()).toHaveLength(2)
  })

  test('C9 both are busy while a turn runs or waits', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    const turn = await say(client, 'hello')
    const before = await chat.entriesOf('user_message')
    for (const type of ['conversation_start', 'conversation_end']) {
      client.send({ type, id: type })
      expect(await client.next('error')).toMatchObject({ code: 'busy', id: type })
    }
    expect(await chat.entriesOf('user_message')).toEqual(before)
    await answer.requested
    answer.finish()
    await ended(client, turn)
  })

  test('C10 another conversation_id than the current one gets conversation_mismatch, and nothing is written', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    client.send({ type: 'conversation_end', id: 'none yet' })
    expect(await client.next('error')).toMatchObject({ code: 'conversation_mismatch', id: 'none yet' })
    await ask(client, 'hello', { conversation_id: 'current' })
    const before = await chat.entries()
    client.send({ type: 'user_message', content: 'hello', conversation_id: 'other', id: 'm' })
    expect(await client.next('error')).toMatchObject({ code: 'conversation_mismatch', id: 'm' })
    client.send({ type: 'conversation_end', conversation_id: 'other', id: 'e' })
    expect(await client.next('error')).toMatchObject({ code: 'conversation_mismatch', id: 'e' })
    expect(await chat.entries()).toEqual(before)
  })

  test('G12 ?conversation_id= shows an older one, all of it, and then what happens live', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    for (const content of ['one', 'two']) await ask(client, content, { conversation_id: 'old' })
    client.send({ type: 'conversation_start', conversation_id: 'newer' })
    await client.next('conversation_start')
    await ask(client, 'three')
    const reader = await chat.join('?conversation_id=old')
    const history = await reader.next('history')
    expect(history).toMatchObject({
      conversation_id: 'old',
      messages: [
        { role: 'user', content: 'one' },
        { role: 'assistant', content: 'one', outcome: 'completed' },
        { role: 'user', content: 'two' },
        { role: 'assistant', content: 'two', outcome: 'completed' },
      ],
    })
    expect(history.offset).toBe((await chat.log.head('ai-chat/one')).offset)
    const turn = await ask(client, 'four')
    await ended(reader, turn)
    // Named explicitly, the current one is the current one.
    const current = await chat.join('?conversation_id=newer')
    expect(await current.next('history')).toMatchObject({ conversation_id: 'newer', messages: { length: 4 } })
  })

  test('G12 one that ended is readable, one that began without a message is empty', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    await ask(client, 'one', { conversation_id: 'ended' })
    client.send({ type: 'conversation_end' })
    await client.next('conversation_end')
    client.send({ type: 'conversation_start', conversation_id: 'empty' })
    client.send({ type: 'conversation_start', conversation_id: 'current' })
    await client.next('conversation_start', ({ conversation_id }) => conversation_id === 'current')
    const ended = await chat.join('?conversation_id=ended')
    expect((await ended.next('history')).messages).toHaveLength(2)
    const empty = await chat.join('?conversation_id=empty')
    expect(await empty.next('history')).toMatchObject({ conversation_id: 'empty', messages: [] })
  })

  test('G12 an unknown one gets conversation_unknown, and the current history', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    await ask(client, 'hello', { conversation_id: 'current' })
    const reader = await chat.join('?conversation_id=nowhere')
    await reader.next('history')
    expect(framesOf(reader, 'error')).toMatchObject([{ code: 'conversation_unknown' }])
    expect(framesOf(reader, 'history')).toMatchObject([{ conversation_id: 'current', messages: { length: 2 } }])
  })
})

test('C9 G12 conversations are the same after a restart', async () => {
  const dataDir = temporaryDirectory()
  const first = await startChatServer({}, { log: await openSqliteLog({ dataDir }) })
  const client = await first.join()
  await ask(client, 'one', { conversation_id: 'old' })
  client.send({ type: 'conversation_start', conversation_id: 'current' })
  await client.next('conversation_start')
  await ask(client, 'two')
  await first.server.stop()
  const second = await startChatServer({ SYSTEM_PROMPT: '' }, { log: await openSqliteLog({ dataDir }) })
  const returned = await second.join()
  await ask(returned, 'three', { conversation_id: 'current' })
  expect(second.upstream.requests[0]?.body.messages.map(({ content }) => content)).toEqual(['two', 'two', 'three'])
  returned.send({ type: 'conversation_start', conversation_id: 'old' })
  expect(await returned.next('error')).toMatchObject({ code: 'conversation_exists' })
  const reader = await second.join('?conversation_id=old')
  expect((await reader.next('history')).messages).toMatchObject([{ content: 'one' }, { content: 'one' }])
})
