import { expect, test } from 'vitest'
import { startServer } from '../support/server.ts'
import { connectText } from '../support/text-client.ts'

test.each([
  'hello',
  '',
  ' ',
  '[]',
  '[{"type":"message","content":"a"}]',
  '1',
  'null',
  'true',
  '"text"',
  '{',
  '{"type":"message"',
  '{}{}',
  '\ufeff{"type":"ping"}',
  '\u0000',
  'zażółć 👩‍👩‍👧 \u202e',
])('L6 the text %j comes back as it is', async (text) => {
  const server = await startServer()
  const echo = await connectText(`${server.url}/ws`)
  echo.send(text)
  expect(await echo.next()).toBe(text)
})

test('L6 a message is answered with echo, ping with pong, and nothing comes before', async () => {
  const server = await startServer()
  const echo = await connectText(`${server.url}/ws`)
  for (const frame of [
    { type: 'message', content: 'a' },
    { type: 'message', content: '\ud800\u0000', id: 'i' },
    { type: 'ping' },
    { type: 'pong' },
    { type: 'message', content: 'last' },
  ])
    echo.send(JSON.stringify(frame))
  const answers = [await echo.next(), await echo.next(), await echo.next(), await echo.next()]
  expect(answers.map((text) => JSON.parse(text))).toEqual([
    { type: 'echo', content: 'a' },
    { type: 'echo', content: '\ud800\u0000', id: 'i' },
    { type: 'pong' },
    { type: 'echo', content: 'last' },
  ])
})

test('L6 L7 an object that is no message gets its error', async () => {
  const server = await startServer()
  const echo = await connectText(`${server.url}/ws`)
  const answerTo = async (text: string) => {
    echo.send(text)
    return JSON.parse(await echo.next())
  }
  expect(await answerTo('{}')).toMatchObject({ type: 'error', code: 'unknown_type' })
  expect(await answerTo(' {"type":"message"}')).toMatchObject({ type: 'error', code: 'bad_frame' })
  for (const type of ['stop', 'typing', 'regenerate', 'conversation_start', 'conversation_end'])
    expect(await answerTo(JSON.stringify({ type })), type).toMatchObject({
      code: 'illegal',
      legal: ['message', 'ping', 'pong'],
    })
  expect(await answerTo('{"type":"user_message","content":"a","id":"u"}')).toMatchObject({ code: 'illegal', id: 'u' })
})

test('L6 two echoes know nothing of each other', async () => {
  const server = await startServer()
  const [one, two] = [await connectText(`${server.url}/ws`), await connectText(`${server.url}/ws`)]
  one.send('mine')
  two.send('yours')
  expect([await one.next(), await two.next()]).toEqual(['mine', 'yours'])
  one.send('{"type":"ping"}')
  expect(await one.next()).toBe('{"type":"pong"}')
})

test('L6 Q1 plain text is limited like frames', async () => {
  const server = await startServer({ RATE_LIMIT: '1', RATE_BURST: '2' })
  const echo = await connectText(`${server.url}/ws`)
  for (const text of ['a', 'b', 'c', '{"type":"message","content":"d","id":"d"}', '{"type":"ping"}']) echo.send(text)
  expect([await echo.next(), await echo.next()]).toEqual(['a', 'b'])
  expect(JSON.parse(await echo.next())).toMatchObject({ type: 'error', code: 'rate_limited' })
  expect(JSON.parse(await echo.next())).toMatchObject({ code: 'rate_limited', id: 'd' })
  expect(await echo.next()).toBe('{"type":"pong"}')
})
