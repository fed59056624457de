import { pino } from 'pino'
import { afterEach, expect, test, vi } from 'vitest'
import { connectionBehaviour } from '../../src/connection/connection-behaviour.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { CLOSES } from '../../src/protocol/close-codes.ts'
import { connect } from '../support/client.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { connectRaw, frameBytes, OPCODE } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const FAULT = { code: 1011, reason: CLOSES.fault.reason }

afterEach(() => vi.restoreAllMocks())

/** An `authenticate` that waits until it is let go. */
function heldSignIn() {
  const asked = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<{ id: string } | undefined>()
  return {
    asked: asked.promise,
    letIn: (principal: { id: string } | undefined = { id: 'ann' }) => gate.resolve(principal),
    refuse: gate.reject,
    authenticate() {
      asked.resolve()
      return gate.promise
    },
  }
}

test('L4 the welcome tells what the connection is', async () => {
  const server = await startServer({ RATE_LIMIT: '20', RATE_BURST: '30', MAX_MESSAGE_BYTES: '2000' })
  const client = await connect(`${server.url}/room/a`)
  expect(await client.next('welcome')).toEqual({
    type: 'welcome',
    protocol: 1,
    connection_id: expect.stringMatching(/^[\w-]{16}$/),
    channel: 'a',
    epoch: expect.stringMatching(/^[\w-]{1,64}$/),
    offset: 0,
    resumed: false,
    limits: {
      max_message_bytes: 2000,
      rate_limit: 20,
      rate_burst: 30,
      heartbeat_interval_ms: 30_000,
      heartbeat_timeout_ms: 10_000,
    },
  })
})

test('L4 a sign-in that hangs is given up at the deadline with 1011, and its place is given back', async () => {
  const clock = createFakeClock()
  const signIn = heldSignIn()
  const server = await startServer({ MAX_CONNECTIONS: '1' }, { clock, authenticate: signIn.authenticate })
  const first = await connect(`${server.url}/room/a`)
  await signIn.asked
  clock.advance(9_980)
  expect(await (await connect(`${server.url}/room/a`)).closed).toMatchObject({ code: 1013 })
  clock.advance(30)
  expect(await first.closed).toEqual(FAULT)
  // Whoever is let in too late is nobody's member.
  signIn.letIn()
  const second = await connect(`${server.url}/room/a`)
  const { connection_id } = await second.next('welcome')
  expect(await second.next('presence')).toMatchObject({ members: [{ client_id: connection_id }] })
})

test('L4 a log that hangs is given up at the deadline with 1011', async () => {
  const clock = createFakeClock()
  const asked = Promise.withResolvers<void>()
  const hang = () => {
    asked.resolve()
    return new Promise<never>(() => {})
  }
  const log = { ...createMemoryLog(), head: hang }
  const server = await startServer({}, { clock, log })
  const client = await connect(`${server.url}/chat/a`)
  await asked.promise
  clock.advance(10_010)
  expect(await client.closed).toEqual(FAULT)
  expect(client.frames).toEqual([])
})

test.each([
  ['authenticate that throws', { authenticate: () => thrown() }],
  ['authenticate that rejects', { authenticate: () => Promise.reject(new Error('a secret')) }],
  ['authorize that throws', { authorize: () => thrown() }],
  ['authorize that rejects', { authorize: () => Promise.reject(new Error('a secret')) }],
  ['log that cannot be read', { log: { ...createMemoryLog(), head: () => Promise.reject(new Error('a secret')) } }],
])('L4 an %s closes with 1011, is logged, and says nothing of why', async (_, parts) => {
  const lines: string[] = []
  const logger = pino({ level: 'error' }, { write: (line) => void lines.push(line) })
  const server = await startServer({}, { ...parts, logger })
  const client = await connect(`${server.url}/room/a`)
  expect(await client.closed).toEqual(FAULT)
  expect(client.frames).toEqual([])
  expect(lines.join()).toContain('could not be joined')
  expect(server.telemetry.connectionsOpen).toBe(0)
})

function thrown(): never {
  throw new Error('a secret')
}

test('L4 who goes away while being signed in leaves nothing behind', async () => {
  const signIn = heldSignIn()
  const server = await startServer({ MAX_CONNECTIONS: '1' }, { authenticate: signIn.authenticate })
  const first = await connect(`${server.url}/room/a`)
  await signIn.asked
  await first.close()
  signIn.letIn()
  const second = await connect(`${server.url}/room/a`)
  expect(await second.next('presence')).toMatchObject({ members: [{}] })
})

test('L5 frames that come in the segment of the upgrade are handled in order after the welcome', async () => {
  const server = await startServer()
  const frames = ['one', 'two', 'three'].map((content) =>
    frameBytes(OPCODE.text, JSON.stringify({ type: 'message', content })),
  )
  const raw = await connectRaw(server.port, '/room/a')
  raw.socket.write(Buffer.concat([...frames, frameBytes(OPCODE.text, '{"type":"ping"}')]))
  const types: string[] = []
  const contents: string[] = []
  while (contents.length < 3) {
    const frame = JSON.parse((await raw.next()).payload.toString())
    types.push(frame.type)
    if (frame.type === 'message') contents.push(frame.content)
  }
  expect(types[0]).toBe('welcome')
  expect(contents).toEqual(['one', 'two', 'three'])
})

test('L5 16 frames wait for the welcome, in order', async () => {
  const signIn = heldSignIn()
  const server = await startServer({}, { authenticate: signIn.authenticate })
  const client = await connect(`${server.url}/room/a`)
  for (let at = 0; at < 16; at++) client.send({ type: 'message', content: `${at}` })
  await heard(server.telemetry, 16)
  signIn.letIn()
  await client.next('welcome')
  for (let at = 0; at < 16; at++) expect(await client.next('message')).toMatchObject({ content: `${at}` })
  expect(client.frames[0]?.type).toBe('welcome')
})

test('L5 the 17th frame closes with 1008', async () => {
  const signIn = heldSignIn()
  const server = await startServer({}, { authenticate: signIn.authenticate })
  const client = await connect(`${server.url}/room/a`)
  for (let at = 0; at < 17; at++) client.send({ type: 'ping' })
  expect(await client.closed).toEqual({ code: 1008, reason: 'too many frames before the welcome' })
  expect(client.frames).toEqual([])
})

test.each([
  [64 * 1024, true],
  [64 * 1024 + 1, false],
])('L5 %i bytes before the welcome: %s', async (bytes, isTaken) => {
  const signIn = heldSignIn()
  const server = await startServer({}, { authenticate: signIn.authenticate })
  const client = await connect(`${server.url}/chat/a`)
  client.ws.send('ż'.repeat(16 * 1024))
  client.ws.send('x'.repeat(bytes - 32 * 1024))
  if (isTaken) {
    await heard(server.telemetry, 2)
    signIn.letIn()
    for (let times = 0; times < 2; times++) expect(await client.next('error')).toMatchObject({ code: 'bad_json' })
  } else {
    expect(await client.closed).toMatchObject({ code: 1008 })
  }
})

test('L5 a breach before the welcome closes at once', async () => {
  const signIn = heldSignIn()
  const server = await startServer({}, { authenticate: signIn.authenticate })
  const client = await connect(`${server.url}/chat/a`)
  client.ws.send(Buffer.from('binary'))
  expect(await client.closed).toMatchObject({ code: 1003 })
})

/** Waits until the server has heard so many frames: before the welcome, there is nothing to wait for. */
async function heard(telemetry: { framesReceived: number }, frames: number): Promise<void> {
  await vi.waitFor(() => expect(telemetry.framesReceived).toBe(frames), { interval: 1 })
}

test('L7 a chat says what is legal', async () => {
  const server = await startServer()
  const chat = await connect(`${server.url}/ai-chat/a`)
  chat.send({ type: 'message', content: 'a', id: 'm' })
  const error = await chat.next('error')
  expect(error).toMatchObject({ code: 'illegal', id: 'm' })
  expect(error.legal).toEqual([
    'user_message',
    'stop',
    'regenerate',
    'typing',
    'conversation_start',
    'conversation_end',
    'ping',
    'pong',
  ])
})

test('L9 a client that closes politely is answered with its own code', async () => {
  const server = await startServer()
  const client = await connect(`${server.url}/room/a`)
  client.ws.close(4000, 'enough')
  expect(await client.closed).toEqual({ code: 4000, reason: 'enough' })
  expect([...server.telemetry.closes]).toEqual([[4000, 1]])
  expect(server.telemetry.cuts.size).toBe(0)
})

test.each([
  [
    'an action on a frame',
    'signalTyping',
    (client: Awaited<ReturnType<typeof connect>>) => client.send({ type: 'typing' }),
  ],
  [
    'an action that writes',
    'post',
    (client: Awaited<ReturnType<typeof connect>>) => client.send({ type: 'message', content: 'a' }),
  ],
] as const)(
  'L10 %s that throws ends that connection with 1011, is logged, and touches no other',
  async (_, name, send) => {
    const lines: string[] = []
    const logger = pino({ level: 'error' }, { write: (line) => void lines.push(line) })
    const real = connectionBehaviour.actions[name]
    let armed = true
    vi.spyOn(connectionBehaviour.actions, name).mockImplementation((connection, event) => {
      if (armed) {
        armed = false
        throw new Error('injected')
      }
      real(connection, event, undefined)
    })
    const server = await startServer({ MAX_CONNECTIONS: '2' }, { logger })
    const [ann, bob] = [await connect(`${server.url}/room/a`), await connect(`${server.url}/room/a`)]
    await bob.next('presence')
    send(ann)
    expect(await ann.closed).toEqual(FAULT)
    await bob.next('user_left')
    expect(lines.join()).toContain('injected')
    bob.send({ type: 'message', content: 'still here' })
    expect(await bob.next('message')).toMatchObject({ content: 'still here' })
    // Its place was given back.
    const cid = await connect(`${server.url}/room/a`)
    expect(await cid.next('presence')).toMatchObject({ members: [{}, {}] })
  },
)

test('L10 a timer whose action throws ends its connection alone', async () => {
  const clock = createFakeClock()
  vi.spyOn(connectionBehaviour.actions, 'sendPing').mockImplementationOnce(() => thrown())
  const server = await startServer({}, { clock })
  const ann = await connect(`${server.url}/room/a`)
  await ann.next('presence')
  clock.advance(10_000)
  const bob = await connect(`${server.url}/room/a`)
  await bob.next('presence')
  clock.advance(20_010)
  expect(await ann.closed).toEqual(FAULT)
  await bob.next('user_left')
  clock.advance(10_010)
  bob.send({ type: 'ping' })
  await bob.next('pong')
})

test('L10 an entry action that throws on opening ends its connection alone', async () => {
  vi.spyOn(connectionBehaviour.actions, 'welcome').mockImplementationOnce(() => thrown())
  const server = await startServer({ MAX_CONNECTIONS: '1' })
  expect(await (await connect(`${server.url}/room/a`)).closed).toEqual(FAULT)
  await (await connect(`${server.url}/room/a`)).next('presence')
})

test('L10 a guard that throws ends its connection alone', async () => {
  const server = await startServerWithGuard('isRoom')
  const ann = await connect(`${server.url}/room/a`)
  await ann.next('presence')
  ann.send({ type: 'message', content: 'a' })
  expect(await ann.closed).toEqual(FAULT)
  await (await connect(`${server.url}/chat/a`)).next('history')
})

async function startServerWithGuard(name: 'isRoom') {
  vi.spyOn(connectionBehaviour.guards, name).mockImplementation(() => thrown())
  return startServer()
}

test('L10 a log that fails while it is read ends the reader with 1011, and the next one is served', async () => {
  const log = createMemoryLog()
  let broken = false
  const fragile = { ...log, read: (...args: Parameters<typeof log.read>) => (broken ? thrown() : log.read(...args)) }
  const server = await startServer({}, { log: fragile })
  const ann = await connect(`${server.url}/room/a`)
  ann.send({ type: 'message', content: 'one' })
  await ann.next('message')
  ann.send({ type: 'message', content: 'two' })
  await ann.next('message')
  broken = true
  const bob = await connect(`${server.url}/room/a?epoch=${ann.position.epoch}&offset=1`)
  expect(await bob.closed).toEqual(FAULT)
  broken = false
  ann.send({ type: 'message', content: 'three' })
  await ann.next('message')
  const again = await connect(`${server.url}/room/a?epoch=${ann.position.epoch}&offset=1`)
  expect(await again.next('message')).toMatchObject({ content: 'two' })
})

test('L10 a log whose append throws refuses the frame with storage, and the room goes on', async () => {
  const log = createMemoryLog()
  let broken = true
  const fragile = {
    ...log,
    append: (...args: Parameters<typeof log.append>) => (broken ? thrown() : log.append(...args)),
  }
  const server = await startServer({}, { log: fragile })
  for (const path of ['/room/a', '/chat/a']) {
    const type = path === '/room/a' ? 'message' : 'user_message'
    const client = await connect(server.url + path)
    broken = true
    client.send({ type, content: 'a', id: 'i' })
    expect(await client.next('error')).toMatchObject({ code: 'storage', id: 'i' })
    broken = false
    client.send({ type, content: 'a', id: 'i' })
    expect(await client.next(type)).toMatchObject({ content: 'a' })
  }
})
