import { pino } from 'pino'
import { expect, test } from 'vitest'
import { ERRORS } from '../../src/protocol/errors.ts'
import { type Client, connect } from '../support/client.ts'
import { closeOf, connectRaw, frameBytes, OPCODE } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const PING = '{"type":"ping"}'

/** What a text is answered with, by a connection that then still works. */
async function errorFor(client: Client, text: string) {
  client.ws.send(text)
  const error = await client.next('error')
  client.send({ type: 'ping' })
  await client.next('pong')
  return error
}

test('P1 a binary message closes with 1003', async () => {
  const server = await startServer()
  for (const path of ['/chat/a', '/room/a', '/ws']) {
    const raw = await connectRaw(server.port, path)
    raw.socket.write(frameBytes(OPCODE.binary, PING))
    const closing = await closeFrame(raw)
    expect(closing, path).toEqual({ code: 1003, reason: 'only text frames are understood' })
  }
})

test.each([
  ['text that is not UTF-8', frameBytes(OPCODE.text, Buffer.from([0x7b, 0xff, 0xfe, 0x7d]))],
  ['a character cut in half', frameBytes(OPCODE.text, Buffer.from('ż').subarray(0, 1))],
  ['an encoded surrogate', frameBytes(OPCODE.text, Buffer.from([0xed, 0xa0, 0x80]))],
  ['an unknown opcode', frameBytes(3, PING)],
  ['a reserved bit', Buffer.from([0xf1, 0x80, 0, 0, 0, 0])],
  ['a fragmented ping', frameBytes(OPCODE.ping, 'x', { fin: false })],
  ['a ping of 126 bytes', frameBytes(OPCODE.ping, 'x'.repeat(126))],
  ['a continuation of nothing', frameBytes(OPCODE.continuation, PING)],
  [
    'a text within a text',
    Buffer.concat([frameBytes(OPCODE.text, '{', { fin: false }), frameBytes(OPCODE.text, PING)]),
  ],
])('P1 %s cuts the connection, counted and logged with its reason, and no other', async (_, bytes) => {
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write: (line) => void lines.push(line) })
  const server = await startServer({}, { logger })
  const other = await connect(`${server.url}/room/a`)
  const raw = await connectRaw(server.port, '/room/a')
  await other.next('user_joined')
  raw.socket.write(bytes)
  await raw.ended
  await other.next('user_left')
  expect(raw.frames.some(({ opcode }) => opcode === OPCODE.close)).toBe(false)
  const causes = [...server.telemetry.cuts]
  expect(causes).toEqual([[expect.stringMatching(/\w/), 1]])
  expect(lines.find((line) => line.includes('connection cut'))).toContain(JSON.stringify(causes[0]?.[0]))
  other.send({ type: 'ping' })
  await other.next('pong')
})

test('P1 an unmasked frame, which RFC 6455 forbids a client, harms nobody', async () => {
  const server = await startServer()
  const other = await connect(`${server.url}/room/a`)
  const raw = await connectRaw(server.port, '/room/a')
  raw.socket.write(frameBytes(OPCODE.text, '{"type":"message","content":"hello"}', { mask: false }))
  raw.socket.end()
  await raw.ended
  await other.next('user_left')
  other.send({ type: 'ping' })
  await other.next('pong')
})

test('P2 several frames in one segment, and one frame in many, are the same frames', async () => {
  const server = await startServer()
  const raw = await connectRaw(server.port, '/ws')
  const texts = ['one', '{"type":"message","content":"two"}', 'three']
  raw.socket.write(Buffer.concat(texts.map((text) => frameBytes(OPCODE.text, text))))
  raw.socket.setNoDelay(true)
  const bytes = frameBytes(OPCODE.text, '{"type":"message","content":"bytewise"}')
  for (const byte of bytes) raw.socket.write(Buffer.of(byte))
  const fragments = ['{"type":"mess', 'age","content"', ':"fragments"}']
  for (const [at, text] of fragments.entries())
    raw.socket.write(frameBytes(at === 0 ? OPCODE.text : OPCODE.continuation, text, { fin: at === 2 }))
  const answers: string[] = []
  while (answers.length < 5) answers.push((await raw.next()).payload.toString())
  expect(answers).toEqual([
    'one',
    '{"type":"echo","content":"two"}',
    'three',
    '{"type":"echo","content":"bytewise"}',
    '{"type":"echo","content":"fragments"}',
  ])
})

test('L9 half a frame, then FIN: the connection is released, the half frame is nothing', async () => {
  const server = await startServer()
  const other = await connect(`${server.url}/room/a`)
  const raw = await connectRaw(server.port, '/room/a')
  const joined = await other.next('user_joined')
  raw.socket.end(frameBytes(OPCODE.text, '{"type":"message","content":"never"}').subarray(0, 20))
  expect(await other.next('user_left')).toMatchObject({ client_id: joined.client_id })
  expect(other.frames.some(({ type }) => type === 'message')).toBe(false)
  expect([...server.telemetry.cuts.values()]).toEqual([1])
})

test('L9 what a close frame says cannot name a cut', async () => {
  const server = await startServer()
  const payload = Buffer.concat([Buffer.from([0x03, 0xee]), Buffer.from('my own cause')])
  const raw = await connectRaw(server.port, '/ws')
  raw.socket.write(frameBytes(OPCODE.close, payload))
  await raw.ended
  expect([...server.telemetry.cuts.keys()].join()).not.toContain('my own')
})

test('P2 exactly MAX_MESSAGE_BYTES is legal, one byte more closes with 1009', async () => {
  const server = await startServer({ MAX_MESSAGE_BYTES: '1000' })
  const room = await connect(`${server.url}/room/a`)
  await room.next('presence')
  const frame = (content: string) => JSON.stringify({ type: 'message', content })
  const content = `!${'ż'.repeat((999 - frame('').length) / 2)}`
  expect(Buffer.byteLength(frame(content))).toBe(1000)
  room.ws.send(frame(content))
  expect(await room.next('message')).toMatchObject({ content })
  room.ws.send(frame(`${content}!`))
  expect(await room.closed).toEqual({ code: 1009, reason: 'message too big' })
  expect(server.telemetry.closes.get(1009)).toBe(1)
})

test('P2 fragments count as the message that they make', async () => {
  const server = await startServer({ MAX_MESSAGE_BYTES: '1000' })
  const raw = await connectRaw(server.port, '/ws')
  raw.socket.write(frameBytes(OPCODE.text, 'x'.repeat(600), { fin: false }))
  raw.socket.write(frameBytes(OPCODE.continuation, 'x'.repeat(401)))
  expect(closeOf(await raw.next())).toMatchObject({ code: 1009 })
})

test.each([
  ['announced', frameBytes(OPCODE.text, 'x'.repeat(100_000))],
  [
    'in fragments',
    Buffer.concat(
      Array.from({ length: 100 }, (_, at) =>
        frameBytes(at === 0 ? OPCODE.text : OPCODE.continuation, 'x'.repeat(900), { fin: false }),
      ),
    ),
  ],
])('P2 a message far too big, %s, is cut before it is there, counted and logged', async (_, bytes) => {
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write: (line) => void lines.push(line) })
  const server = await startServer({ MAX_MESSAGE_BYTES: '1000' }, { logger })
  const raw = await connectRaw(server.port, '/ws')
  raw.socket.write(bytes)
  await raw.ended
  const [[cause, times] = ['', 0]] = server.telemetry.cuts
  expect([cause, times]).toEqual([expect.stringMatching(/big/i), 1])
  expect(lines.find((line) => line.includes('connection cut'))).toContain(cause)
  expect(server.telemetry.connectionsOpen).toBe(0)
})

test.each([
  ['P2', 'hello', 'bad_json'],
  ['P2', '', 'bad_json'],
  ['P2', '[]', 'bad_json'],
  ['P2', '['.repeat(60_000), 'bad_json'],
  ['P3', '{}', 'unknown_type'],
  ['P3', '{"type":"xstate.stop"}', 'unknown_type'],
  ['P3', '{"type":"xstate.init"}', 'unknown_type'],
  ['P3', '{"type":"xstate.error.actor.x"}', 'unknown_type'],
  ['P3', '{"type":"xstate.done.state.connection"}', 'unknown_type'],
  ['P3', '{"type":"connection.close","close":"done"}', 'unknown_type'],
  ['P3', '{"type":"socket.closed"}', 'unknown_type'],
  ['P3', '{"type":"constructor"}', 'unknown_type'],
  ['P4', '{"type":"user_message"}', 'bad_frame'],
  ['P4', '{"type":"ping","constructor":1}', 'bad_frame'],
  ['P5', '{"type":"ping","__proto__":{"type":"stop"}}', 'bad_frame'],
  [
    'P5',
    `{"type":"user_message","content":"a","metadata":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}`,
    'bad_frame',
  ],
  ['P6', `{"type":"stop","turn_id":"${'x'.repeat(65)}"}`, 'bad_frame'],
])('%s %.60s is answered with %s, and the connection goes on', async (_rule, text, code) => {
  const server = await startServer()
  for (const path of ['/chat/a', '/room/a']) {
    const client = await connect(server.url + path)
    const error = await errorFor(client, text)
    expect(error.code).toBe(code)
    expect(error.content).toContain(ERRORS[code as keyof typeof ERRORS].content)
    expect(String(error.content).length).toBeLessThan(250)
  }
  expect(server.telemetry.closes.size).toBe(0)
})

test('P4 P7 the error names the field, never the value, and carries the id', async () => {
  const server = await startServer()
  const client = await connect(`${server.url}/chat/a`)
  const error = await errorFor(
    client,
    '{"type":"user_message","id":"mine","content":["a secret"],"metadata":"a secret"}',
  )
  expect(error).toMatchObject({ code: 'bad_frame', id: 'mine' })
  expect(error.content).toContain('content')
  expect(error.content).toContain('metadata')
  expect(JSON.stringify(error)).not.toContain('secret')
})

test('P7 every refusal of a frame with an id carries it', async () => {
  const server = await startServer()
  const chat = await connect(`${server.url}/chat/a`)
  const room = await connect(`${server.url}/room/a`)
  chat.send({ type: 'regenerate', id: 'r' })
  expect(await chat.next('error')).toMatchObject({ code: 'nothing_to_regenerate', id: 'r' })
  chat.send({ type: 'conversation_end', id: 'e' })
  expect(await chat.next('error')).toMatchObject({ code: 'conversation_mismatch', id: 'e' })
  room.send({ type: 'user_message', content: 'a', id: 'u' })
  expect(await room.next('error')).toMatchObject({ code: 'illegal', id: 'u' })
})

test.each(['\ud800', 'a\udc00b', '\u0000', '\u2028\u202e', '"\\\b</script>', '👩‍👩‍👧', '__proto__', ' \n '])(
  'R2 content %j comes back the same, now and from the log',
  async (content) => {
    const server = await startServer()
    const room = await connect(`${server.url}/room/a`)
    room.send({ type: 'message', content, id: content })
    expect(await room.next('message')).toMatchObject({ content, id: content })
    const later = await connect(`${server.url}/room/a`)
    expect((await later.next('history')).messages).toMatchObject([{ content, id: content }])
  },
)

async function closeFrame(raw: Awaited<ReturnType<typeof connectRaw>>) {
  for (;;) {
    const frame = await raw.next()
    if (frame.opcode === OPCODE.close) return closeOf(frame)
  }
}
