import { expect, onTestFinished, test } from 'vitest'
import { createClient, whenReady } from '../../src/log/redis-clients.ts'
import { parseRedisUrl } from '../../src/log/redis-url.ts'
import { startSentinel, until } from '../support/redis.ts'

const TIMEOUT_MS = 1_000

test('a client that hears of a failover while it asks for the master comes back, and stays away once it is disconnected', async () => {
  const sentinel = await startSentinel()
  onTestFinished(() => sentinel.close())
  const client = createClient(parseRedisUrl(sentinel.url), 'commands', TIMEOUT_MS)
  await whenReady(client, 'it', TIMEOUT_MS)
  let ends = 0
  client.on('end', () => ends++)
  // What ioredis does itself when a sentinel says so.
  client.once('connecting', () => Reflect.get(client, 'connector').disconnect())
  client.disconnect(true)
  await until(() => ends === 1)
  await until(() => client.status === 'ready')
  client.disconnect()
  await until(() => ends === 2)
  await new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS / 2))
  expect(client.status).toBe('end')
})
