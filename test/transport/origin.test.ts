import { expect, test } from 'vitest'
import { connectRaw } from '../support/raw-client.ts'
import { type Env, startServer } from '../support/server.ts'

const HOST = 'chat.example.com:8000'

async function statusFor(env: Env, headers: Record<string, string>): Promise<number> {
  const server = await startServer(env)
  const { status } = await connectRaw(server.port, '/room/a', { Host: HOST, ...headers })
  expect(server.telemetry.refusedUpgrades.get(403) ?? 0).toBe(status === 403 ? 1 : 0)
  expect(server.telemetry.connectionsOpened).toBe(status === 403 ? 0 : 1)
  return status
}

test('L3 without an Origin, as programs connect, nothing is refused', async () => {
  expect(await statusFor({}, {})).toBe(101)
  expect(await statusFor({ ALLOWED_ORIGINS: 'https://chat.example.com' }, {})).toBe(101)
})

test.each([
  ['http://chat.example.com:8000', 101],
  ['https://chat.example.com:8000', 101],
  ['HTTP://Chat.Example.com:8000', 101],
  ['http://chat.example.com', 403],
  ['http://chat.example.com:8001', 403],
  ['http://example.com:8000', 403],
  ['http://evil.chat.example.com:8000', 403],
  ['http://chat.example.com:8000.evil.com', 403],
  ['http://evil.com/chat.example.com:8000', 403],
  ['http://chat.example.com:8000@evil.com', 403],
  ['null', 403],
  ['chat.example.com:8000', 403],
  ['%', 403],
])('L3 by default the Origin %s gets %i', async (origin, status) => {
  expect(await statusFor({}, { Origin: origin })).toBe(status)
})

test.each([
  ['https://chat.example.com', 101],
  ['https://CHAT.example.com', 101],
  ['http://localhost:3000', 101],
  ['http://chat.example.com', 403],
  ['https://chat.example.com:444', 403],
  ['https://chat.example.com.evil.com', 403],
  ['http://localhost:3001', 403],
  ['http://localhost', 403],
  ['null', 403],
  // A list replaces the default, so the server's own host is refused, too.
  ['http://chat.example.com:8000', 403],
])('L3 with a list, the Origin %s gets %i', async (origin, status) => {
  const env = { ALLOWED_ORIGINS: 'https://Chat.Example.com, http://localhost:3000' }
  expect(await statusFor(env, { Origin: origin })).toBe(status)
})

test.each(['https://anyone.example', 'null', 'nonsense'])('L3 * allows %s', async (origin) => {
  expect(await statusFor({ ALLOWED_ORIGINS: '*' }, { Origin: origin })).toBe(101)
})

test('L3 a refusal is HTTP, with a sentence', async () => {
  const server = await startServer()
  const { status, body } = await connectRaw(server.port, '/room/a', { Origin: 'http://evil.example' })
  expect([status, body]).toEqual([403, 'This origin may not connect.\n'])
})
