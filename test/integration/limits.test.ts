import { expect, test } from 'vitest'
import { type Client, connect, type Frame } from '../support/client.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { startServer } from '../support/server.ts'

async function limited(env: Record<string, string> = {}, path = '/room/a') {
  const clock = createFakeClock()
  const server = await startServer({ RATE_LIMIT: '10', HEARTBEAT_INTERVAL_MS: '3600000', ...env }, { clock })
  const client = await connect(server.url + path)
  await client.next(path.startsWith('/room') ? 'presence' : 'history')
  return { clock, server, client }
}

/** Sends frames, and answers what came back until all have been handled. */
async function answersTo(client: Client, frames: object[]): Promise<Frame[]> {
  const from = client.frames.length
  for (const frame of frames) client.send(frame)
  client.send({ type: 'ping' })
  await client.next('pong')
  return client.frames.slice(from, -1)
}

const messages = (count: number) =>
  Array.from({ length: count }, (_, at) => ({ type: 'message', content: `${at}`, id: `m${Math.random()}` }))
const typesOf = (frames: Frame[]) => frames.map(({ type, code }) => code ?? type)

test('Q1 a connection may send a burst at once, and what is over it is refused', async () => {
  const { client } = await limited({ RATE_BURST: '4' })
  for (const frame of messages(6)) client.send(frame)
  for (const content of ['0', '1', '2', '3']) expect(await client.next('message')).toMatchObject({ content })
  await answersTo(client, [])
  expect(typesOf(client.frames).filter((type) => type === 'rate_limited')).toHaveLength(2)
})

test('Q1 the bucket fills by RATE_LIMIT a second, up to the burst', async () => {
  const { client, clock } = await limited({ RATE_BURST: '3' })
  await answersTo(client, messages(3))
  clock.advance(200)
  expect(typesOf(await answersTo(client, messages(3))).filter((type) => type === 'rate_limited')).toHaveLength(1)
  clock.advance(60_000)
  expect(typesOf(await answersTo(client, messages(5))).filter((type) => type === 'rate_limited')).toHaveLength(2)
})

test('Q1 each connection has a bucket of its own', async () => {
  const { client, server } = await limited({ RATE_BURST: '1' })
  await answersTo(client, messages(2))
  const other = await connect(`${server.url}/room/a`)
  await other.next('presence')
  expect(typesOf(await answersTo(other, messages(1)))).not.toContain('rate_limited')
})

test('Q1 ping, pong and stop are free, limited or not', async () => {
  const { client } = await limited({ RATE_BURST: '1', RATE_STRIKES: '1' }, '/chat/a')
  await answersTo(client, [{ type: 'typing' }, { type: 'typing' }])
  const free = Array.from({ length: 50 }, () => [{ type: 'stop' }, { type: 'ping' }, { type: 'pong' }]).flat()
  for (const frame of free) client.send(frame)
  for (let at = 0; at < 50; at++) await client.next('pong')
  expect(client.frames.filter(({ code }) => code === 'rate_limited')).toHaveLength(1)
  expect(client.ws.readyState).toBe(client.ws.OPEN)
})

test('Q1 a stop gets through a flood and ends the turn', async () => {
  const server = await startServer({ RATE_LIMIT: '1', SIMULATED_DELAY_MS: '60000' })
  const client = await connect(`${server.url}/chat/a`)
  client.send({ type: 'user_message', content: 'hello' })
  await client.next('typing')
  for (let at = 0; at < 5; at++) client.send({ type: 'typing' })
  client.send({ type: 'stop' })
  expect(await client.next('ai_stream_end')).toMatchObject({ outcome: 'stopped' })
})

test('Q2 a frame over the rate is not handled: rate_limited, with its id and the time to wait, which is right', async () => {
  const { client, clock } = await limited({ RATE_BURST: '1' })
  const [first] = await answersTo(client, [
    { type: 'message', content: 'a' },
    { type: 'message', content: 'b', id: 'b' },
  ]).then((frames) => frames.filter(({ type }) => type === 'error'))
  expect(first).toMatchObject({ code: 'rate_limited', id: 'b', retry_after_ms: 100 })
  clock.advance(90)
  const [second] = await answersTo(client, [{ type: 'message', content: 'b', id: 'b' }])
  expect(second).toMatchObject({ code: 'rate_limited', id: 'b', retry_after_ms: 10 })
  clock.advance(10)
  client.send({ type: 'message', content: 'b', id: 'b' })
  expect(await client.next('message', ({ id }) => id === 'b')).toMatchObject({ content: 'b' })
})

test('Q2 what cannot be read counts, too', async () => {
  const { client } = await limited({ RATE_BURST: '2' })
  client.ws.send('nonsense')
  client.ws.send('{"type":"nonsense"}')
  client.ws.send('{"type":"nonsense","id":"third"}')
  for (const code of ['bad_json', 'unknown_type']) expect(await client.next('error')).toMatchObject({ code })
  expect(await client.next('error')).toMatchObject({ code: 'rate_limited', id: 'third', retry_after_ms: 100 })
})

test('Q3 more than RATE_STRIKES refusals within a minute close with 4429, and no other', async () => {
  const { client, server } = await limited({ RATE_BURST: '1', RATE_STRIKES: '5' })
  const other = await connect(`${server.url}/room/a`)
  await other.next('presence')
  const answers = typesOf(await answersTo(client, messages(6)))
  expect(answers.filter((type) => type === 'rate_limited')).toHaveLength(5)
  client.send({ type: 'typing' })
  expect(await client.closed).toEqual({ code: 4429, reason: 'rate limit exceeded too often' })
  await other.next('user_left')
  expect(server.telemetry.closes.get(4429)).toBe(1)
  expect(other.ws.readyState).toBe(other.ws.OPEN)
})

test('Q3 refusals of more than a minute ago are forgiven', async () => {
  const { client, clock } = await limited({ RATE_BURST: '1', RATE_STRIKES: '5' })
  for (let minute = 0; minute < 5; minute++) {
    const answers = typesOf(await answersTo(client, messages(6)))
    expect(answers.filter((type) => type === 'rate_limited')).toHaveLength(5)
    clock.advance(60_010)
  }
  expect(client.ws.readyState).toBe(client.ws.OPEN)
})

const signedIn = { authenticate: ({ query }: { query: URLSearchParams }) => ({ id: query.get('user') ?? 'anonymous' }) }

/** A server with a limit on what several connections send together, and how to join its room. */
async function shared(env: Record<string, string>) {
  const clock = createFakeClock()
  const settings = { RATE_LIMIT: '100', HEARTBEAT_INTERVAL_MS: '3600000', TRUSTED_PROXIES: '127.0.0.1', ...env }
  const server = await startServer(settings, { clock, ...signedIn })
  async function join(ip: string, user = 'anonymous', path = '/room/a'): Promise<Client> {
    const client = await connect(`${server.url}${path}?user=${user}`, { headers: { 'X-Forwarded-For': ip } })
    if (path === '/room/a') await client.next('presence')
    return client
  }
  return { clock, join }
}
const limitedIn = (frames: Frame[]) => frames.filter(({ code }) => code === 'rate_limited')

test('Q5 the connections of an address have one bucket, those of another address another', async () => {
  const { clock, join } = await shared({ RATE_LIMIT_PER_IP: '5' })
  const [a, b, other] = [await join('192.0.2.1'), await join('192.0.2.1', 'ann', '/ws'), await join('192.0.2.2')]
  expect(limitedIn(await answersTo(a, messages(3)))).toEqual([])
  const [refused, ...more] = limitedIn(await answersTo(b, messages(3)))
  expect(refused).toMatchObject({ retry_after_ms: 200, id: expect.any(String) })
  expect(more).toEqual([])
  expect(limitedIn(await answersTo(other, messages(5)))).toEqual([])
  clock.advance(200)
  expect(limitedIn(await answersTo(a, messages(1)))).toEqual([])
})

test('Q5 the connections of a signed-in principal have one bucket, wherever they come from; anonymous ones have none', async () => {
  const { join } = await shared({ RATE_LIMIT_PER_PRINCIPAL: '5' })
  const [a, b, ben] = [await join('192.0.2.1', 'ann'), await join('192.0.2.2', 'ann'), await join('192.0.2.1', 'ben')]
  expect(limitedIn(await answersTo(a, messages(3)))).toEqual([])
  expect(limitedIn(await answersTo(b, messages(3)))).toHaveLength(1)
  expect(limitedIn(await answersTo(ben, messages(5)))).toEqual([])
  const anonymous = await join('192.0.2.1')
  expect(limitedIn(await answersTo(anonymous, messages(20)))).toEqual([])
})

test('Q5 a frame that one bucket refuses takes nothing of the others, and waits for the one that refused', async () => {
  const { clock, join } = await shared({ RATE_LIMIT_PER_IP: '10', RATE_LIMIT_PER_PRINCIPAL: '2' })
  const ann = await join('192.0.2.1', 'ann')
  const refused = limitedIn(await answersTo(ann, messages(7)))
  expect(refused).toHaveLength(5)
  expect(refused[0]).toMatchObject({ retry_after_ms: 500 })
  // Of the address's ten, eight are left.
  const ben = await join('192.0.2.1', 'ben')
  const cid = await join('192.0.2.1', 'cid')
  const dan = await join('192.0.2.1', 'dan')
  const eva = await join('192.0.2.1', 'eva')
  for (const client of [ben, cid, dan, eva]) expect(limitedIn(await answersTo(client, messages(2)))).toEqual([])
  const fay = await join('192.0.2.1', 'fay')
  expect(limitedIn(await answersTo(fay, messages(1)))[0]).toMatchObject({ retry_after_ms: 100 })
  clock.advance(500)
  expect(limitedIn(await answersTo(ann, messages(1)))).toEqual([])
})

test('Q5 Q3 refusals by a common bucket are strikes of the connection that goes on', async () => {
  const { join } = await shared({ RATE_LIMIT_PER_IP: '1', RATE_STRIKES: '3' })
  const [quiet, loud] = [await join('192.0.2.1'), await join('192.0.2.1')]
  expect(limitedIn(await answersTo(loud, messages(4)))).toHaveLength(3)
  loud.send({ type: 'typing' })
  expect(await loud.closed).toEqual({ code: 4429, reason: 'rate limit exceeded too often' })
  expect(limitedIn(await answersTo(quiet, messages(1)))).toHaveLength(1)
})

test('Q5 ping, pong and stop are free of the common buckets, too', async () => {
  const { join } = await shared({ RATE_LIMIT_PER_IP: '1' })
  const client = await join('192.0.2.1', 'ann', '/chat/a')
  const free = Array.from({ length: 10 }, () => [{ type: 'stop' }, { type: 'ping' }, { type: 'pong' }]).flat()
  for (const frame of free) client.send(frame)
  for (let at = 0; at < 10; at++) await client.next('pong')
  expect(limitedIn(client.frames)).toEqual([])
})
