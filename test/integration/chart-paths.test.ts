import { connect as connectSocket } from 'node:net'
import { afterAll, expect, onTestFailed, onTestFinished, test } from 'vitest'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import type { Entry } from '../../src/protocol/entry.ts'
import type { ServerParts } from '../../src/server-parts.ts'
import { createHeldModel } from '../support/chart-model.ts'
import { createWitness, TRANSITIONS, type Witness } from '../support/chart-witness.ts'
import { connect } from '../support/client.ts'
import { createFakeClock, type FakeClock } from '../support/fake-clock.ts'
import { type Env, startServer, type TestServer } from '../support/server.ts'

/**
 * Every transition of `machines/connection.machine.ts` through a real socket of a real server: frames go in, the clock
 * is moved by hand, and readers that do not read are real ones. Each story says which transitions it drives, and fails
 * where one of them was not seen; the last test fails where a transition has no story.
 */

const SECOND_MS = 1_000
const driven = new Set<string>()

interface Stage {
  readonly server: TestServer
  readonly clock: FakeClock
  readonly witness: Witness
}

/** A server whose clock and connections are in hand. It is ended by moving the clock: no deadline passes by itself. */
async function start(env: Env = {}, parts: ServerParts = {}): Promise<Stage> {
  const clock = createFakeClock()
  const witness = createWitness()
  const server = await startServer(env, { clock, onTransition: witness.onTransition, ...parts })
  onTestFailed(() => console.log('seen until then:', [...witness.seen]))
  onTestFinished(async () => {
    let isStopped = false
    const stopped = server.stop().then(() => {
      isStopped = true
    })
    while (!isStopped) {
      clock.advance(SECOND_MS)
      await new Promise(setImmediate)
    }
    await stopped
  })
  return { server, clock, witness }
}

/** A test that drives these transitions. */
function story(title: string, keys: readonly string[], tell: () => Promise<Stage>): void {
  test(title, async () => {
    const { witness } = await tell()
    for (const key of keys) await witness.until(key)
    expect(witness.unexplained).toEqual([])
    for (const key of keys) driven.add(key)
  })
}

/** More than a reader that does not read takes in on loopback, as the messages of a room. */
async function fill(log: ReturnType<typeof createMemoryLog>, key: string): Promise<void> {
  for (let i = 0; i < 120; i++) {
    const entry: Entry = { type: 'message', client_id: 'someone', content: 'x'.repeat(100_000) }
    await append(log, key, entry, i)
  }
}

/** Appends as another process of the same log would. */
async function append(log: ReturnType<typeof createMemoryLog>, key: string, entry: Entry, sequence: number) {
  const { epoch = 'other', offset } = await log.head(key)
  await log.append(key, entry, { producer: 'another process', sequence, seenHead: offset, epoch })
}

/**
 * Lets time pass at the very moment of a transition. A reader is congested again and again until the kernel holds all
 * that it may, so that a moment later it might be catching up.
 */
async function passWhen({ witness, clock }: Stage, key: string, ms: number): Promise<void> {
  await witness.until(key)
  clock.advance(ms)
}

// Accepting and closing.

story(
  'L4 a connection that is signed in in time is open',
  ['accepting: connection.joined', 'open.flow.catchingUp: flow.caughtUp', 'open: socket.closed'],
  async () => {
    const stage = await start()
    const client = await connect(`${stage.server.url}/room/one`)
    await client.next('presence')
    client.cut()
    return stage
  },
)

story('L4 one that is refused is closed', ['accepting: connection.close', 'closing: socket.closed'], async () => {
  const stage = await start({}, { authenticate: () => undefined })
  const client = await connect(`${stage.server.url}/room/one`)
  expect((await client.closed).code).toBe(4401)
  return stage
})

story('L4 one that goes away while it is signed in is released', ['accepting: socket.closed'], async () => {
  const stage = await start({}, { authenticate: () => new Promise(() => {}) })
  const client = await connect(`${stage.server.url}/room/one`)
  client.cut()
  return stage
})

story('L4 one that is not signed in in time is closed', ['accepting: after acceptDeadline'], async () => {
  const stage = await start({ ACCEPT_DEADLINE_MS: '5000' }, { authenticate: () => new Promise(() => {}) })
  const client = await connect(`${stage.server.url}/room/one`)
  stage.clock.advance(5_000)
  expect((await client.closed).code).toBe(1011)
  return stage
})

story('P1 a binary message closes an open connection', ['open: connection.close'], async () => {
  const stage = await start()
  const client = await connect(`${stage.server.url}/room/one`)
  await client.next('welcome')
  client.ws.send(Buffer.from('binary'))
  expect((await client.closed).code).toBe(1003)
  return stage
})

// What a channel's kind makes legal.

story(
  'L7 R4 a room takes messages and typing, and refuses what is for a model',
  [
    'open: message [isRoom]',
    'open: typing [isRoom]',
    'open: stop [none]',
    'open: conversation_start [none]',
    'open: conversation_end [none]',
    'open.service.serving: user_message [none]',
    'open.service.serving: regenerate [none]',
  ],
  async () => {
    const stage = await start()
    const client = await connect(`${stage.server.url}/room/one`)
    await client.next('presence')
    client.send({ type: 'message', content: 'hello' })
    client.send({ type: 'typing' })
    await client.next('message')
    for (const type of ['stop', 'conversation_start', 'conversation_end'])
      await stage.witness.refuses(client, `open: ${type} [none]`, { type })
    const user_message = { type: 'user_message', content: 'hello' }
    await stage.witness.refuses(client, 'open.service.serving: user_message [none]', user_message)
    await stage.witness.refuses(client, 'open.service.serving: regenerate [none]', { type: 'regenerate' })
    return stage
  },
)

story('L6 L7 the echo takes messages, and no typing', ['open: message [isEcho]', 'open: typing [none]'], async () => {
  const stage = await start()
  const client = await connect(`${stage.server.url}/ws`)
  client.send({ type: 'message', content: 'hello' })
  await client.next('echo')
  await stage.witness.refuses(client, 'open: typing [none]', { type: 'typing' })
  return stage
})

story(
  'C1 C9 C13 a chat takes what is for a model, and no message',
  [
    'open: stop [isChat]',
    'open: conversation_start [isChat]',
    'open: conversation_end [isChat]',
    'open: typing [isChat]',
    'open: message [none]',
    'open.service.serving: user_message [isChat]',
    'open.service.serving: regenerate [isChat]',
  ],
  async () => {
    const stage = await start()
    const client = await connect(`${stage.server.url}/chat/one`)
    await client.next('history')
    client.send({ type: 'conversation_start' })
    await client.next('conversation_start')
    client.send({ type: 'typing' })
    client.send({ type: 'user_message', content: 'hello' })
    await client.next('ai_stream_end')
    client.send({ type: 'regenerate' })
    await client.next('ai_stream_end')
    client.send({ type: 'stop' })
    client.send({ type: 'conversation_end' })
    await client.next('conversation_end')
    await stage.witness.refuses(client, 'open: message [none]', { type: 'message', content: 'hello' })
    return stage
  },
)

// The channel's turn.

story(
  'C2 C6 C8 a turn is shown from its queue to its end; a new answer begins without a queue; who joins sees where it is',
  [
    'open.turn.idle: turn.queued',
    'open.turn.queued: turn.typing',
    'open.turn.typing: turn.streaming',
    'open.turn.streaming: turn.idle',
    'open.turn.idle: turn.typing',
    'open.turn.typing: turn.idle',
    'open.turn.idle: turn.streaming',
  ],
  async () => {
    const model = createHeldModel()
    const stage = await start({}, { model })
    const client = await connect(`${stage.server.url}/ai-chat/one`)
    client.send({ type: 'user_message', content: 'hello' })
    const answer = await model.asked()
    answer.say('words')
    await client.next('ai_stream_chunk')
    await connect(`${stage.server.url}/ai-chat/one`)
    await stage.witness.until('open.turn.idle: turn.streaming')
    answer.finish()
    await client.next('ai_stream_end')
    client.send({ type: 'regenerate' })
    await client.next('typing')
    client.send({ type: 'stop' })
    await client.next('ai_stream_end')
    return stage
  },
)

story(
  'C5 the turn behind one that ends is shown at once, whatever the other had said',
  ['open.turn.typing: turn.queued', 'open.turn.streaming: turn.queued'],
  async () => {
    const model = createHeldModel()
    const stage = await start({}, { model })
    const client = await connect(`${stage.server.url}/ai-chat/one`)
    for (const content of ['silent', 'spoken', 'last']) client.send({ type: 'user_message', content })
    for (let i = 0; i < 3; i++) await client.next('user_message')
    const silent = await model.asked()
    silent.finish()
    const spoken = await model.asked()
    spoken.say('words')
    spoken.finish()
    await model.asked()
    return stage
  },
)

story('C6 a turn that waits for the model can be stopped', ['open.turn.queued: turn.idle'], async () => {
  const model = createHeldModel()
  const stage = await start({ LLM_CONCURRENCY: '1' }, { model })
  const busy = await connect(`${stage.server.url}/ai-chat/busy`)
  busy.send({ type: 'user_message', content: 'hello' })
  await model.asked()
  const client = await connect(`${stage.server.url}/ai-chat/one`)
  client.send({ type: 'user_message', content: 'hello' })
  await client.next('queued')
  client.send({ type: 'stop' })
  expect(await client.next('ai_stream_end')).toMatchObject({ outcome: 'stopped' })
  return stage
})

story(
  'C4 what another process writes of a turn is shown, whatever state it comes from',
  ['open.turn.queued: turn.streaming', 'open.turn.streaming: turn.typing'],
  async () => {
    const model = createHeldModel()
    const log = createMemoryLog()
    const stage = await start({ LLM_CONCURRENCY: '1' }, { model, log })
    const busy = await connect(`${stage.server.url}/ai-chat/busy`)
    busy.send({ type: 'user_message', content: 'hello' })
    await model.asked()
    const client = await connect(`${stage.server.url}/ai-chat/one`)
    for (const content of ['first', 'second']) client.send({ type: 'user_message', content })
    const first = String((await client.next('user_message')).turn_id)
    const second = String((await client.next('user_message')).turn_id)
    const metadata = { index: 0 }
    await append(log, 'ai-chat/one', { type: 'ai_stream_chunk', turn_id: first, content: 'words', metadata }, 0)
    await append(log, 'ai-chat/one', { type: 'typing', turn_id: second }, 1)
    client.send({ type: 'stop', turn_id: first })
    await client.next('ai_stream_end')
    return stage
  },
)

// The rate.

story(
  'Q2 Q3 who sends too much is limited, and closed when it goes on',
  [
    'open.rate.allowed: rate.exceeded [else]',
    'open.rate.limited: rate.exceeded [else]',
    'open.rate.limited: rate.exceeded [isAbusive]',
  ],
  async () => {
    const stage = await start({ RATE_LIMIT: '1', RATE_BURST: '1', RATE_STRIKES: '2' })
    const client = await connect(`${stage.server.url}/room/one`)
    for (let i = 0; i < 4; i++) client.send({ type: 'typing' })
    expect((await client.closed).code).toBe(4429)
    expect(client.frames.filter(({ code }) => code === 'rate_limited')).toHaveLength(2)
    return stage
  },
)

story(
  'Q2 Q3 who keeps to the rate again is allowed again, and its strikes are not forgotten',
  ['open.rate.limited: after limitedFor', 'open.rate.allowed: rate.exceeded [isAbusive]'],
  async () => {
    const stage = await start({ RATE_LIMIT: '1', RATE_BURST: '1', RATE_STRIKES: '1' })
    const client = await connect(`${stage.server.url}/room/one`)
    for (let i = 0; i < 2; i++) client.send({ type: 'typing' })
    await client.next('error')
    stage.clock.advance(SECOND_MS)
    await stage.witness.until('open.rate.limited: after limitedFor')
    for (let i = 0; i < 2; i++) client.send({ type: 'typing' })
    expect((await client.closed).code).toBe(4429)
    return stage
  },
)

// The heartbeat.

const HEARTBEAT = { HEARTBEAT_INTERVAL_MS: '30000', HEARTBEAT_TIMEOUT_MS: '10000', CONGESTED_LIMIT_MS: '3600000' }

story(
  'H1 only silence is answered with a ping, and a pong is life',
  [
    'open.heartbeat.alive: after heartbeatInterval [else]',
    'open.heartbeat.alive: after heartbeatInterval [isSilent]',
    'open.heartbeat.awaitingPong: socket.heard',
  ],
  async () => {
    const stage = await start(HEARTBEAT)
    const client = await connect(`${stage.server.url}/room/one`)
    await client.next('presence')
    stage.clock.advance(20 * SECOND_MS)
    client.send({ type: 'ping' })
    await client.next('pong')
    stage.clock.advance(10 * SECOND_MS)
    await stage.witness.until('open.heartbeat.alive: after heartbeatInterval [else]')
    expect(stage.witness.seen).not.toContain('open.heartbeat.alive: after heartbeatInterval [isSilent]')
    stage.clock.advance(20 * SECOND_MS)
    return stage
  },
)

story(
  'H2 who does not answer a ping is closed',
  ['open.heartbeat.awaitingPong: after heartbeatTimeout [else]'],
  async () => {
    const stage = await start(HEARTBEAT)
    const client = await connect(`${stage.server.url}/room/one`, { autoPong: false })
    await client.next('presence')
    stage.clock.advance(40 * SECOND_MS)
    expect((await client.closed).code).toBe(4408)
    return stage
  },
)

// Slow readers.

story(
  'H2 G10 a reader that is slow to catch up is parked, waited for, and read to once it reads on',
  [
    'open.flow.catchingUp: socket.congested',
    'open.heartbeat.awaitingPong: after heartbeatTimeout [isReaderSlow]',
    'open.flow.congested: socket.drained',
  ],
  async () => {
    const log = createMemoryLog()
    await fill(log, 'room/one')
    const stage = await start(HEARTBEAT, { log })
    const passed = passWhen(stage, 'open.flow.catchingUp: socket.congested', 40 * SECOND_MS)
    const client = await connect(`${stage.server.url}/room/one`)
    client.ws.pause()
    await passed
    await stage.witness.until('open.heartbeat.awaitingPong: after heartbeatTimeout [isReaderSlow]')
    client.ws.resume()
    await client.next('presence')
    return stage
  },
)

story(
  'G10 a live reader that stops reading is parked, and closed with 1013 when that lasts; it is told once it reads',
  [
    'open.flow.flowing: socket.congested',
    'open.flow.congested: after congestedLimit [else]',
    'closing: socket.drained',
  ],
  async () => {
    const log = createMemoryLog()
    const stage = await start({ CONGESTED_LIMIT_MS: '1000' }, { log })
    const client = await connect(`${stage.server.url}/room/one`)
    await client.next('presence')
    client.ws.pause()
    const passed = passWhen(stage, 'open.flow.flowing: socket.congested', SECOND_MS)
    await fill(log, 'room/one')
    await passed
    await stage.witness.until('open.flow.congested: after congestedLimit [else]')
    client.ws.resume()
    expect((await client.closed).code).toBe(1013)
    return stage
  },
)

story(
  'G10 a parked reader that takes something now and then is not closed',
  ['open.flow.congested: after congestedLimit [isReaderMoving]'],
  async () => {
    const log = createMemoryLog()
    // One entry of more than the kernel takes in, so that a reader can take some of the rest, and not all.
    await append(log, 'room/one', { type: 'message', content: 'x'.repeat(32_000_000), client_id: 'other' }, 1)
    const stage = await start({ CONGESTED_LIMIT_MS: '1000' }, { log })
    const witnessed = stage.witness.until('open.flow.catchingUp: socket.congested')
    const socket = connectSocket(stage.server.port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write(
      `GET /room/one HTTP/1.1\r\nHost: 127.0.0.1:${stage.server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
    )
    await witnessed
    stage.clock.advance(900)
    // It takes more than the kernel held for it, so that some of what the process holds goes out, too.
    await new Promise<void>((resolve) => {
      socket.on('data', () => {
        if (socket.bytesRead > 12_000_000) resolve()
      })
    })
    socket.pause()
    stage.clock.advance(200)
    await stage.witness.until('open.flow.congested: after congestedLimit [isReaderMoving]')
    socket.destroy()
    return stage
  },
)

story('L9 a socket that does not take its close frame is cut', ['closing: after closeDeadline'], async () => {
  const log = createMemoryLog()
  const stage = await start({ CONGESTED_LIMIT_MS: '1000', CLOSE_DEADLINE_MS: '1000' }, { log })
  const client = await connect(`${stage.server.url}/room/one`)
  await client.next('presence')
  client.ws.pause()
  const passed = passWhen(stage, 'open.flow.flowing: socket.congested', 2 * SECOND_MS)
  await fill(log, 'room/one')
  await passed
  await stage.witness.until('closing: after closeDeadline')
  client.ws.resume()
  expect((await client.closed).code).toBe(1006)
  return stage
})

story('G8 a log that expires under a live reader is read anew', ['open.flow.flowing: log.reset'], async () => {
  const log = createMemoryLog()
  const stage = await start({}, { log })
  const client = await connect(`${stage.server.url}/room/one`)
  const before = await client.next('welcome')
  client.send({ type: 'message', content: 'hello' })
  await client.next('message')
  await log.expire(Number.POSITIVE_INFINITY, new Set())
  const after = await client.next('welcome')
  expect(after).toMatchObject({ resumed: false, offset: 0 })
  expect(after.epoch).not.toBe(before.epoch)
  return stage
})

// Going away.

story(
  'L8 a draining server takes no new turns',
  [
    'open.service.serving: server.draining',
    'open.service.draining: user_message [isChat]',
    'open.service.draining: regenerate [isChat]',
    'open.service.draining: user_message [none]',
    'open.service.draining: regenerate [none]',
  ],
  async () => {
    const model = createHeldModel()
    const stage = await start({ DRAIN_MS: '60000' }, { model })
    const chat = await connect(`${stage.server.url}/ai-chat/one`)
    const room = await connect(`${stage.server.url}/room/one`)
    chat.send({ type: 'user_message', content: 'hello' })
    await model.asked()
    await room.next('presence')
    void stage.server.stop()
    await Promise.all([chat.next('draining'), room.next('draining')])
    chat.send({ type: 'user_message', content: 'more', id: 'more' })
    expect(await chat.next('error')).toMatchObject({ code: 'draining', id: 'more' })
    chat.send({ type: 'regenerate', id: 'again' })
    expect(await chat.next('error')).toMatchObject({ code: 'draining', id: 'again' })
    const { refuses } = stage.witness
    const user_message = { type: 'user_message', content: 'hello' }
    await refuses(room, 'open.service.draining: user_message [none]', user_message)
    await refuses(room, 'open.service.draining: regenerate [none]', { type: 'regenerate' })
    return stage
  },
)

test('every transition of the connection chart has its story', () => {
  const all = [...TRANSITIONS.keys()]
  expect(all.filter((key) => !driven.has(key))).toEqual([])
})

afterAll(() => {
  console.log(`connection: ${driven.size} of ${TRANSITIONS.size} transitions driven through a real socket`)
})
