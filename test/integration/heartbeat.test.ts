import { once } from 'node:events'
import { expect, test } from 'vitest'
import { type Client, connect } from '../support/client.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { startServer } from '../support/server.ts'
import { createSteadyModel } from '../support/steady-model.ts'

const SILENT = { autoPong: false }

/** The server has handled everything that this client sent so far. */
async function settle(client: Client): Promise<void> {
  client.send({ type: 'ping' })
  await client.next('pong')
}

/** A client that answers pings only when told to, on a server whose time stands still. */
async function quietClient(path = '/room/a') {
  const clock = createFakeClock()
  const server = await startServer({}, { clock })
  const client = await connect(server.url + path, SILENT)
  await client.next('welcome')
  let pings = 0
  client.ws.on('ping', () => pings++)
  return { clock, server, client, pings: () => pings }
}

test('H1 after an interval of silence the server sends a WebSocket ping, and not before', async () => {
  const { clock, client, pings } = await quietClient()
  await settle(client)
  clock.advance(29_990)
  await settle(client)
  expect(pings()).toBe(0)
  // That was a sign of life: the interval is counted from it.
  clock.advance(29_990)
  const pinged = once(client.ws, 'ping')
  clock.advance(20)
  await pinged
  expect(client.frames.map(({ type }) => type)).toEqual(['welcome', 'presence', 'pong', 'pong'])
})

test('H2 silence for HEARTBEAT_TIMEOUT_MS after the ping closes with 4408', async () => {
  const { clock, server, client } = await quietClient()
  const pinged = once(client.ws, 'ping')
  clock.advance(30_010)
  await pinged
  clock.advance(9_980)
  expect(client.ws.readyState).toBe(client.ws.OPEN)
  clock.advance(20)
  expect(await client.closed).toEqual({ code: 4408, reason: 'nothing heard; heartbeat timeout' })
  expect(server.telemetry.closes.get(4408)).toBe(1)
  expect(server.telemetry.connectionsOpen).toBe(0)
})

test.each([
  ['a pong frame', (client: Client) => client.ws.pong()],
  ['a ping frame', (client: Client) => client.ws.ping()],
  ['a frame', (client: Client) => client.send({ type: 'typing' })],
  ['a JSON pong', (client: Client) => client.send({ type: 'pong' })],
  ['a JSON ping', (client: Client) => client.send({ type: 'ping' })],
  ['a frame that is refused', (client: Client) => client.ws.send('nonsense')],
])('H1 %s after the ping is a sign of life', async (_, live) => {
  const { clock, server, client } = await quietClient()
  for (let round = 0; round < 3; round++) {
    const pinged = once(client.ws, 'ping')
    clock.advance(round === 0 ? 30_010 : 20_010)
    await pinged
    clock.advance(5_000)
    live(client)
    // Over another connection, so that this one's only sign of life is the one under test.
    await heardBy(server.url)
    clock.advance(10_000)
  }
  expect(client.ws.readyState).toBe(client.ws.OPEN)
  clock.advance(20_010)
  clock.advance(10_010)
  expect(await client.closed).toMatchObject({ code: 4408 })
})

test.each([['/ws'], ['/chat/a'], ['/room/a']])('H1 on %s a client that answers pings stays', async (path) => {
  const clock = createFakeClock()
  const server = await startServer({}, { clock })
  const other = await connect(`${server.url}/room/other`, SILENT)
  const client = await connect(server.url + path)
  for (let round = 0; round < 5; round++) {
    const pinged = once(client.ws, 'ping')
    clock.advance(30_010)
    await pinged
    client.send({ type: 'ping' })
    await client.next('pong')
  }
  expect(await other.closed).toMatchObject({ code: 4408 })
  expect(client.ws.readyState).toBe(client.ws.OPEN)
})

test('H1 a client that sends on is never pinged', async () => {
  const { clock, client, pings } = await quietClient()
  for (let round = 0; round < 10; round++) {
    clock.advance(20_000)
    await settle(client)
  }
  expect(pings()).toBe(0)
})

test('H2 a reader that is parked for slowness is waited for', async () => {
  const clock = createFakeClock()
  const model = createSteadyModel()
  const server = await startServer({ CONGESTED_LIMIT_MS: '3600000', MAX_ANSWER_BYTES: '16777216' }, { clock, model })
  const client = await connect(`${server.url}/ai-chat/a`, SILENT)
  client.send({ type: 'user_message', content: 'go' })
  await client.next('ai_stream_chunk')
  client.ws.pause()
  const other = await connect(`${server.url}/ai-chat/a`)
  await other.next('welcome')
  await model.say(16 * 1024 * 1024 - 64 * 1024)
  await settle(other)
  for (let silent = 0; silent < 120_000; silent += 10_000) {
    clock.advance(10_000)
    await settle(other)
  }
  expect(server.telemetry.closes.get(4408)).toBeUndefined()
  client.ws.resume()
  model.finish()
  await client.next('ai_stream_end')
  // It reads again, and is silent still: now it is judged.
  clock.advance(40_020)
  expect(await client.closed).toMatchObject({ code: 4408 })
})

test('H3 ping is answered at any rate, pong is not answered', async () => {
  const server = await startServer({ RATE_LIMIT: '1', RATE_BURST: '1', RATE_STRIKES: '1' })
  const client = await connect(`${server.url}/room/a`)
  await client.next('presence')
  for (let times = 0; times < 500; times++) {
    client.send({ type: 'ping' })
    client.send({ type: 'pong' })
  }
  for (let times = 0; times < 500; times++) await client.next('pong')
  client.send({ type: 'message', content: 'still one token' })
  await client.next('message')
  expect(client.frames.filter(({ type }) => type === 'pong')).toHaveLength(500)
  expect(client.frames.some(({ type }) => type === 'error')).toBe(false)
})

/** Bytes that were sent before, over another socket, have been handled when this one is answered. */
async function heardBy(url: string): Promise<void> {
  const other = await connect(`${url}/room/elsewhere`)
  await settle(other)
  await other.close()
}
