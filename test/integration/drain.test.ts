import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { expect, test, vi } from 'vitest'
import { type Client, connect, textsOf } from '../support/client.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { connectRaw, frameBytes, OPCODE } from '../support/raw-client.ts'
import { spawnServer, startServer, temporaryDirectory } from '../support/server.ts'
import { createSteadyModel } from '../support/steady-model.ts'

/** How many connect together. */
const AT_ONCE = 200
const GONE = { code: 1001, reason: 'the server is going away; resume' }

/** A server in whose one chat a turn runs until it is told to finish. */
async function withRunningTurn(env: Record<string, string> = {}) {
  const clock = createFakeClock()
  const model = createSteadyModel()
  const server = await startServer({ DRAIN_MS: '10000', ...env }, { clock, model })
  const client = await connect(`${server.url}/ai-chat/a`)
  client.send({ type: 'user_message', content: 'hello' })
  await client.next('ai_stream_chunk')
  return { clock, model, server, client }
}

test('L8 without turns, everybody is told, then closed with 1001, at once', async () => {
  const server = await startServer({ DRAIN_MS: '3600000' })
  const clients = []
  for (const path of ['/chat/a', '/room/a', '/ai-chat/a']) {
    const client = await connect(server.url + path)
    await client.next('welcome')
    clients.push(client)
  }
  await server.stop()
  for (const client of clients) {
    await client.next('draining')
    expect(await client.closed).toEqual(GONE)
  }
})

/** What so many clients of a server are told when it drains, in ms. */
async function waitsOf(count: number): Promise<number[]> {
  const server = await startServer({ DRAIN_MS: '10000' })
  const clients: Client[] = []
  for (let left = count; left > 0; left -= AT_ONCE)
    clients.push(
      ...(await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, () => connect(`${server.url}/ws`)))),
    )
  await server.stop()
  const told = await Promise.all(clients.map((client) => client.next('draining')))
  return told.map(({ reconnect_after_ms }) => Number(reconnect_after_ms))
}

test('L8 reconnect_after_ms is spread over the clients, a thousand a second', async () => {
  const waits = await waitsOf(3_000)
  for (const wait of waits) expect(wait >= 0 && wait <= 3_000 && Number.isInteger(wait)).toBe(true)
  expect(new Set(waits).size).toBeGreaterThan(30)
  expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(2_000)
})

test('L8 reconnect_after_ms is a second at most where the clients are few', async () => {
  const waits = await waitsOf(40)
  for (const wait of waits) expect(wait >= 0 && wait <= 1_000 && Number.isInteger(wait)).toBe(true)
  expect(new Set(waits).size).toBeGreaterThan(30)
})

test('L8 a running turn goes on to its end; new work is refused; new connections are, too', async () => {
  const { model, server, client } = await withRunningTurn()
  const stopping = server.stop()
  await client.next('draining')
  client.send({ type: 'user_message', content: 'more', id: 'm' })
  expect(await client.next('error')).toMatchObject({ code: 'draining', id: 'm' })
  client.send({ type: 'regenerate', id: 'r' })
  expect(await client.next('error')).toMatchObject({ code: 'draining', id: 'r' })
  await expect(connect(`${server.url}/chat`)).rejects.toThrow('ECONNREFUSED')
  await model.say(10)
  model.finish()
  expect(await client.next('ai_stream_end')).toMatchObject({ outcome: 'completed' })
  expect(await client.closed).toEqual(GONE)
  await stopping
  expect(client.frames.filter(({ type }) => type === 'user_message')).toHaveLength(1)
})

test('L8 stop stays legal while the server drains, and ends the waiting', async () => {
  const { server, client } = await withRunningTurn()
  const stopping = server.stop()
  await client.next('draining')
  client.send({ type: 'stop' })
  expect(await client.next('ai_stream_end')).toMatchObject({ outcome: 'stopped' })
  expect(await client.closed).toEqual(GONE)
  await stopping
})

test('L8 rooms stay open until the end', async () => {
  const { model, server, client } = await withRunningTurn()
  const ann = await connect(`${server.url}/room/a`)
  await ann.next('presence')
  const stopping = server.stop()
  await ann.next('draining')
  ann.send({ type: 'message', content: 'still here' })
  expect(await ann.next('message')).toMatchObject({ content: 'still here' })
  model.finish()
  for (const each of [ann, client]) expect(await each.closed).toEqual(GONE)
  await stopping
})

test('L8 a turn that outlives DRAIN_MS is interrupted, then 1001', async () => {
  const { clock, server, client } = await withRunningTurn()
  const stopping = server.stop()
  await client.next('draining')
  clock.advance(9_980)
  client.send({ type: 'ping' })
  await client.next('pong')
  expect(client.frames.some(({ type }) => type === 'ai_stream_end')).toBe(false)
  clock.advance(30)
  expect(await client.next('ai_stream_end')).toMatchObject({
    outcome: 'interrupted',
    finish_reason: null,
    error: { code: 'interrupted' },
  })
  expect(await client.closed).toEqual(GONE)
  await stopping
})

test('L8 readyz says draining, while healthz is well', async () => {
  const { model, server, client } = await withRunningTurn()
  const admin = `http://127.0.0.1:${server.adminPort}`
  expect((await fetch(`${admin}/readyz`)).status).toBe(200)
  const stopping = server.stop()
  await client.next('draining')
  const ready = await fetch(`${admin}/readyz`)
  expect([ready.status, await ready.text()]).toEqual([503, 'draining\n'])
  expect((await fetch(`${admin}/healthz`)).status).toBe(200)
  model.finish()
  await stopping
  await expect(fetch(`${admin}/healthz`)).rejects.toThrow()
})

test('L8 who was being accepted when the drain began is told, and refused new work', async () => {
  const asked = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<{ id: string }>()
  const model = createSteadyModel()
  const server = await startServer(
    { DRAIN_MS: '3600000' },
    {
      model,
      authenticate({ query }) {
        if (!query.has('slow')) return { id: 'ann' }
        asked.resolve()
        return gate.promise
      },
    },
  )
  const client = await connect(`${server.url}/ai-chat/a`)
  client.send({ type: 'user_message', content: 'hello' })
  await client.next('ai_stream_chunk')
  const late = await connect(`${server.url}/ai-chat/b?slow`)
  late.send({ type: 'user_message', content: 'early', id: 'e' })
  await asked.promise
  const stopping = server.stop()
  await client.next('draining')
  gate.resolve({ id: 'bob' })
  await late.next('draining')
  expect(await late.next('error')).toMatchObject({ code: 'draining', id: 'e' })
  model.finish()
  expect(await late.closed).toEqual(GONE)
  await stopping
})

test('L8 an upgrade over an HTTP connection from before is closed with 1001', async () => {
  const { model, server, client } = await withRunningTurn()
  const socket = connectTcp(server.port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write('GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(socket, 'data')
  const stopping = server.stop()
  await client.next('draining')
  const key = Buffer.alloc(16).toString('base64')
  socket.write(
    `GET /room/a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  )
  let bytes = Buffer.alloc(0)
  for await (const data of socket) bytes = Buffer.concat([bytes, data])
  expect(bytes.toString('latin1')).toContain(`\x03\xe9${GONE.reason}`)
  model.finish()
  await stopping
})

test('L8 a reader that does not read holds up the stop no longer than CLOSE_DEADLINE_MS', async () => {
  const clock = createFakeClock()
  const server = await startServer({ RATE_LIMIT: '1000000' }, { clock })
  const deaf = await connectRaw(server.port, '/ws')
  deaf.socket.pause()
  const messages = 400
  for (let sent = 0; sent < messages; sent++) deaf.socket.write(frameBytes(OPCODE.text, 'x'.repeat(60_000)))
  await vi.waitFor(() => expect(server.telemetry.framesReceived).toBe(messages), { timeout: 10_000 })
  // More than any kernel takes was echoed: the connection is closing, and cannot say so.
  let isStopped = false
  const stopping = server.stop().then(() => {
    isStopped = true
  })
  clock.advance(4_980)
  expect((await fetch(`http://127.0.0.1:${server.adminPort}/readyz`)).status).toBe(503)
  expect(isStopped).toBe(false)
  clock.advance(30)
  await stopping
  expect([...server.telemetry.closes]).toEqual([[1006, 1]])
})

test('L8 stopping twice is stopping once', async () => {
  const server = await startServer()
  const client = await connect(`${server.url}/room/a`)
  await client.next('presence')
  await Promise.all([server.stop(), server.stop()])
  await server.stop()
  expect(await client.closed).toEqual(GONE)
  expect(client.frames.filter(({ type }) => type === 'draining')).toHaveLength(1)
})

test('L8 SIGTERM: a turn that is cut is interrupted, saved, and resumable after the restart; exit code 0', async () => {
  const env = { DATA_DIR: temporaryDirectory(), SIMULATED_DELAY_MS: '30', DRAIN_MS: '150' }
  const first = await spawnServer(env)
  const client = await connect(`${first.url}/chat/a`)
  client.send({ type: 'user_message', content: Array.from({ length: 1_000 }, (_, at) => `w${at}`).join(' ') })
  const { turn_id } = await client.next('ai_stream_chunk')
  const ended = once(first.process, 'exit')
  first.process.kill('SIGTERM')
  await client.next('draining')
  await expect(connect(`${first.url}/chat/b`)).rejects.toThrow()
  expect(await client.next('ai_stream_end')).toMatchObject({ turn_id, outcome: 'interrupted' })
  expect(await client.closed).toEqual(GONE)
  expect(await ended).toEqual([0, null])
  const shown = textsOf(client.frames).get(String(turn_id))

  const second = await spawnServer(env)
  const again = await connect(`${second.url}/chat/a${client.resumeQuery}`)
  expect(await again.next('welcome')).toMatchObject({ resumed: true, offset: client.position.offset })
  const fresh = await connect(`${second.url}/chat/a`)
  const { messages } = await fresh.next('history')
  expect(messages).toMatchObject([
    { role: 'user' },
    { role: 'assistant', turn_id, outcome: 'interrupted', content: shown },
  ])
  again.send({ type: 'regenerate' })
  expect(await again.next('typing')).toMatchObject({ regenerates: turn_id })
  again.send({ type: 'stop' })
  expect(await again.next('ai_stream_end')).toMatchObject({ outcome: 'stopped' })
})

test.each(['SIGTERM', 'SIGINT'] as const)('L8 %s after a first signal ends the process at once', async (second) => {
  const server = await spawnServer({ STORE: 'memory', SIMULATED_DELAY_MS: '60000', DRAIN_MS: '3600000' })
  const client = await connect(`${server.url}/chat/a`)
  client.send({ type: 'user_message', content: 'hello' })
  await client.next('typing')
  const ended = once(server.process, 'exit')
  server.process.kill('SIGTERM')
  await client.next('draining')
  server.process.kill(second)
  expect(await ended).toEqual([1, null])
  expect(await client.closed).toMatchObject({ code: 1006 })
})

test('L8 a turn that ends within DRAIN_MS is completed, and the process ends with 0', async () => {
  const server = await spawnServer({ STORE: 'memory', SIMULATED_DELAY_MS: '100', DRAIN_MS: '60000' })
  const client = await connect(`${server.url}/chat/a`)
  client.send({ type: 'user_message', content: 'one two three' })
  await client.next('typing')
  const ended = once(server.process, 'exit')
  server.process.kill('SIGINT')
  await client.next('draining')
  expect(await client.next('ai_stream_end')).toMatchObject({ outcome: 'completed' })
  expect(await client.closed).toEqual(GONE)
  expect(await ended).toEqual([0, null])
})
