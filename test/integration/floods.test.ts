import { once } from 'node:events'
import { expect, test } from 'vitest'
import { connect } from '../support/client.ts'
import { connectRaw, frameBytes, OPCODE } from '../support/raw-client.ts'
import { spawnServer, startServer, temporaryDirectory } from '../support/server.ts'

const FLOODS = {
  pong: frameBytes(OPCODE.text, '{"type":"pong"}'),
  ping: frameBytes(OPCODE.text, '{"type":"ping"}'),
  stop: frameBytes(OPCODE.text, '{"type":"stop"}'),
  'WebSocket ping': frameBytes(OPCODE.ping, ''),
}

test.each(Object.entries(FLOODS))('Q1 a flood of %s frames is cut, and keeps nobody else waiting', async (_, frame) => {
  const server = await spawnServer({ DATA_DIR: temporaryDirectory() })
  const other = await connect(`${server.url}/chat/other`)
  const flood = await connectRaw(Number(new URL(server.url).port), '/chat/one')
  const burst = Buffer.concat(Array.from({ length: 4_000 }, () => frame))
  // As fast as the kernel takes it, reading nothing: a burst behind every burst, until the server has had enough.
  while (!flood.socket.destroyed) {
    if (!flood.socket.write(burst)) await Promise.race([once(flood.socket, 'drain'), flood.ended])
  }
  other.send({ type: 'ping' })
  await other.next('pong')
  expect((await fetch(`${server.adminUrl}/healthz`)).status).toBe(200)
})

test('Q1 more free frames than FREE_RATE_LIMIT close with 4429; as many do not', async () => {
  const server = await startServer({ FREE_RATE_LIMIT: '50' })
  const client = await connect(`${server.url}/chat/one`)
  await client.next('history')
  for (let i = 0; i < 50; i++) client.send({ type: 'ping' })
  for (let i = 0; i < 50; i++) await client.next('pong')
  for (let i = 0; i < 60; i++) client.send({ type: 'stop' })
  expect((await client.closed).code).toBe(4429)
})
