import { expect, test } from 'vitest'
import { createAdmission } from '../../src/connection/admission.ts'
import { createLocalCoordination } from '../../src/coordination/local-coordination.ts'
import { connect } from '../support/client.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { startServer } from '../support/server.ts'

const FULL = { code: 1013, reason: 'the server is full; try again later' }
const TOO_MANY = { code: 1008, reason: 'too many connections from this address' }

test('L4 a full server accepts, and closes with 1013 and a reason; a place is given back', async () => {
  const server = await startServer({ MAX_CONNECTIONS: '2' })
  const clients = [await connect(`${server.url}/chat/a`), await connect(`${server.url}/ws`)]
  for (const path of ['/chat/a', '/room/a', '/ws']) {
    const refused = await connect(server.url + path)
    expect(await refused.closed, path).toEqual(FULL)
    expect(refused.frames).toEqual([])
  }
  await clients[1]?.close()
  await (await connect(`${server.url}/room/a`)).next('welcome')
  expect(await (await connect(`${server.url}/room/a`)).closed).toEqual(FULL)
  expect(server.telemetry.connectionsOpen).toBe(2)
})

test('L4 too many from one address are closed with 1008 and a reason; a place is given back, however it ends', async () => {
  const server = await startServer({ MAX_CONNECTIONS_PER_IP: '1' })
  const room = () => connect(`${server.url}/room/a`)
  for (let round = 0; round < 6; round++) {
    const client = await room()
    await client.next('welcome')
    expect(await (await room()).closed).toEqual(TOO_MANY)
    if (round % 3 === 0) await client.close()
    if (round % 3 === 1) client.ws.send(Buffer.from('binary'))
    if (round % 3 === 2) client.ws.send('x'.repeat(65_537))
    await client.closed
  }
  await (await room()).next('welcome')
})

test('L4 too many of one signed-in principal are closed with 1008 and a reason, wherever they come from; anonymous ones are not', async () => {
  const server = await startServer(
    { MAX_CONNECTIONS_PER_PRINCIPAL: '2', TRUSTED_PROXIES: '127.0.0.1' },
    { authenticate: ({ query }) => ({ id: query.get('user') ?? 'anonymous' }) },
  )
  const join = (query: string, ip: string) =>
    connect(`${server.url}/room/a${query}`, { headers: { 'X-Forwarded-For': ip } })
  const first = await join('?user=ann', '192.0.2.1')
  await first.next('welcome')
  const echo = await connect(`${server.url}/ws?user=ann`)
  echo.send({ type: 'ping' })
  await echo.next('pong')
  const refused = await join('?user=ann', '192.0.2.2')
  expect(await refused.closed).toEqual({ code: 1008, reason: 'too many connections of this user' })
  expect(refused.frames).toEqual([])
  await (await join('?user=ben', '192.0.2.1')).next('welcome')
  for (let n = 0; n < 4; n++) await (await join('', '192.0.2.1')).next('welcome')
  await first.close()
  await (await join('?user=ann', '192.0.2.2')).next('welcome')
})

test('L4 the server limit is looked at before the address, and who is refused for the address takes no place', async () => {
  const server = await startServer({ MAX_CONNECTIONS: '2', MAX_CONNECTIONS_PER_IP: '1', TRUSTED_PROXIES: '127.0.0.1' })
  const from = (ip: string) => connect(`${server.url}/room/a`, { headers: { 'X-Forwarded-For': ip } })
  await (await from('192.0.2.1')).next('welcome')
  expect(await (await from('192.0.2.1')).closed).toEqual(TOO_MANY)
  await (await from('192.0.2.2')).next('welcome')
  expect(await (await from('192.0.2.1')).closed).toEqual(FULL)
})

test('L4 who is not admitted is not asked who he is', async () => {
  const asked: string[] = []
  const server = await startServer(
    { MAX_CONNECTIONS_PER_IP: '1' },
    {
      authenticate(request) {
        asked.push(request.ip)
        return { id: 'someone' }
      },
    },
  )
  await (await connect(`${server.url}/room/a`)).next('welcome')
  expect(await (await connect(`${server.url}/room/a`)).closed).toEqual(TOO_MANY)
  expect(asked).toEqual(['127.0.0.1'])
})

test('L4 who is not signed in is not asked for his rights, and both give the place back', async () => {
  const asked: string[] = []
  const server = await startServer(
    { MAX_CONNECTIONS: '1' },
    {
      authenticate: ({ query }) => (query.has('user') ? { id: String(query.get('user')) } : undefined),
      authorize(principal, { route, channel }) {
        asked.push(`${principal.id} ${route}/${channel}`)
        return principal.id === 'ann'
      },
    },
  )
  expect(await (await connect(`${server.url}/room/a`)).closed).toEqual({ code: 4401, reason: 'sign in again' })
  const bob = await connect(`${server.url}/room/a?user=bob`)
  expect(await bob.closed).toEqual({ code: 1008, reason: 'not allowed in this channel' })
  expect(bob.frames).toEqual([])
  await (await connect(`${server.url}/room/a?user=ann`)).next('welcome')
  expect(asked).toEqual(['bob room/a', 'ann room/a'])
})

test('L4 a private channel that was just made, and /ws, need no rights', async () => {
  const server = await startServer({}, { authenticate: () => ({ id: 'ann' }), authorize: () => false })
  await (await connect(`${server.url}/chat`)).next('welcome')
  expect(await (await connect(`${server.url}/chat/public`)).closed).toMatchObject({ code: 1008 })
})

test('L4 a place that is granted to somebody who has left meanwhile is given back', async () => {
  const coordination = createLocalCoordination(createFakeClock())
  const granted = Promise.withResolvers<void>()
  const slow = {
    ...coordination,
    take: async (name: string, limit: number) => granted.promise.then(() => coordination.take(name, limit)),
  }
  const errors: unknown[] = []
  const admission = createAdmission({ connections: 1, perAddress: 1, perPrincipal: 1 }, slow, (error) =>
    errors.push(error),
  )
  const place = admission.enter()
  expect(admission.enter()).toBeUndefined()
  const taking = place?.takeAddress('192.0.2.1')
  place?.leave()
  place?.leave()
  granted.resolve()
  await taking
  const next = admission.enter()
  expect(admission.enter()).toBeUndefined()
  expect(await next?.takeAddress('192.0.2.1')).toBeUndefined()
  expect(errors).toEqual([])
})

test('L4 where a place cannot be given back, that is told', async () => {
  const broken = { ...createLocalCoordination(createFakeClock()), giveBack: () => Promise.reject(new Error('gone')) }
  const told = Promise.withResolvers<unknown>()
  const place = createAdmission({ connections: 1, perAddress: 1, perPrincipal: 1 }, broken, told.resolve).enter()
  await place?.takeAddress('192.0.2.1')
  place?.leave()
  expect(await told.promise).toEqual(new Error('gone'))
})
