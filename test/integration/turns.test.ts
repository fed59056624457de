import { expect, test } from 'vitest'
import { connect, textsOf } from '../support/client.ts'
import { startServer } from '../support/server.ts'

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

test('C7 a second user_message with the same id starts no second turn', async () => {
  const server = await startServer()
  const [first, second] = [await connect(`${server.url}/chat/one`), await connect(`${server.url}/chat/one`)]
  first.send({ type: 'user_message', content: 'hello', id: 'a' })
  const stored = await first.next('user_message')
  await first.next('ai_stream_end')
  second.send({ type: 'user_message', content: 'hello', id: 'a' })
  await second.next('ai_stream_end')
  const answers = [await second.next('user_message')]
  expect(answers).toEqual([stored])
  second.send({ type: 'ping' })
  await second.next('pong')
  expect(second.frames.filter((frame) => frame.type === 'ai_stream_end')).toHaveLength(1)
})
