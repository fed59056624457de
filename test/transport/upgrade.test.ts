import { expect, test } from 'vitest'
import { parsePath } from '../../src/transport/upgrade.ts'
import { connect } from '../support/client.ts'
import { connectRaw } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import { connectText } from '../support/text-client.ts'

const EVERY_CHARACTER = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-'

test('L1 each route leads to its kind of channel', async () => {
  const server = await startServer()
  for (const path of ['/ai-chat/a', '/chat/a', '/room/a', '/ai-chat', '/chat']) {
    const client = await connect(server.url + path)
    expect(await client.next('welcome'), path).toMatchObject({ protocol: 1, resumed: false, offset: 0 })
  }
  const echo = await connectText(`${server.url}/ws`)
  echo.send('hello')
  expect(await echo.next()).toBe('hello')
})

test('L1 one name on two routes is two channels', async () => {
  const server = await startServer()
  const first = await connect(`${server.url}/chat/same`)
  first.send({ type: 'user_message', content: 'only here' })
  await first.next('ai_stream_end')
  const here = await connect(`${server.url}/chat/same`)
  expect((await here.next('history')).messages).toHaveLength(2)
  const there = await connect(`${server.url}/ai-chat/same`)
  expect((await there.next('history')).messages).toEqual([])
  const room = await connect(`${server.url}/room/same`)
  expect(await room.next('presence')).toMatchObject({ members: [{}] })
  expect(room.frames.map(({ type }) => type)).toEqual(['welcome', 'presence'])
})

test.each([['a'], ['..'], [EVERY_CHARACTER], ['x'.repeat(128)]])('L2 %s is a channel name', async (name) => {
  const server = await startServer()
  for (const route of ['ai-chat', 'chat', 'room']) {
    const { status } = await connectRaw(server.port, `/${route}/${name}`)
    expect(status, route).toBe(101)
  }
})

test.each([
  ['129 characters', 'x'.repeat(129)],
  ['an escaped space', 'a%20b'],
  ['an escaped letter', '%61'],
  ['unicode', 'zażółć'],
  ['escaped unicode', 'za%C5%BC'],
  ['a colon', 'a:b'],
  ['a backslash', 'a\\b'],
  ['a NUL', 'a%00'],
  ['a plus', 'a+b'],
])('L2 %s is no channel name: 400', async (_, name) => {
  const server = await startServer()
  for (const route of ['ai-chat', 'chat', 'room']) {
    const answer = await connectRaw(server.port, `/${route}/${name}`)
    expect(answer.status, route).toBe(400)
    expect(answer.body).toContain('1 to 128 characters')
  }
  expect(server.telemetry.refusedUpgrades.get(400)).toBe(3)
})

test.each([
  '/nowhere',
  '/nowhere/a',
  '/AI-CHAT/a',
  '/ai-chat/a/',
  '/ai-chat//',
  '/ai-chat//a',
  '//ai-chat/a',
  '/room',
  '/room/',
  '/ws/a',
  '/ws//',
  '/__proto__/a',
])('L2 there is no %s: 404', async (path) => {
  const server = await startServer()
  const { status, body } = await connectRaw(server.port, path)
  expect(status).toBe(404)
  expect(body).toContain('/ai-chat[/{channel}]')
  expect(server.telemetry.refusedUpgrades.get(404)).toBe(1)
})

test('L2 a query is no part of the name', async () => {
  const server = await startServer()
  const client = await connect(`${server.url}/room/a?b=%zz&&=&c`)
  expect(await client.next('welcome')).toMatchObject({ channel: 'a' })
})

test('L2 a chat without a name is a private one, told in the welcome, to which one may come back', async () => {
  const server = await startServer()
  const names = new Set<unknown>()
  for (const path of ['/ai-chat', '/ai-chat/', '/chat', '/chat/']) {
    const { channel } = await (await connect(server.url + path)).next('welcome')
    expect(Buffer.from(String(channel), 'base64url'), path).toHaveLength(16)
    names.add(channel)
  }
  expect(names.size).toBe(4)
  const first = await connect(`${server.url}/chat`)
  const { channel } = await first.next('welcome')
  first.send({ type: 'user_message', content: 'hello' })
  await first.next('ai_stream_end')
  const again = await connect(`${server.url}/chat/${channel}${first.resumeQuery}`)
  expect(await again.next('welcome')).toMatchObject({ channel, resumed: true, offset: first.position.offset })
})

test('L2 every private name is new', () => {
  const paths = Array.from({ length: 1_000 }, () => parsePath('/chat'))
  expect(new Set(paths.map((path) => (typeof path === 'number' ? path : path.channel))).size).toBe(1_000)
  expect(paths[0]).toMatchObject({ route: 'chat', isNew: true })
  expect(parsePath('/chat/named')).toEqual({ route: 'chat', channel: 'named', isNew: false })
})

test('L1 a plain request to a route, or one without a key, is 404 and no connection', async () => {
  const server = await startServer()
  const http = server.url.replace('ws:', 'http:')
  expect((await fetch(`${http}/ai-chat/a`)).status).toBe(404)
  expect((await fetch(`${http}/ai-chat/a`, { method: 'POST', body: 'x' })).status).toBe(404)
  expect((await connectRaw(server.port, '/room/a', { 'Sec-WebSocket-Key': 'short' })).status).toBe(404)
  expect(server.telemetry.connectionsOpened).toBe(0)
})

test('L1 a client that offers the subprotocol gets it', async () => {
  const server = await startServer()
  const client = await connect(`${server.url}/room/a`, {
    headers: { 'Sec-WebSocket-Protocol': 'other, statewire.v1' },
  }).catch((error: Error) => error.message)
  // `ws` complains of a protocol that it did not ask for itself: it was chosen.
  expect(client).toContain('subprotocol')
})
