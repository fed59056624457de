import { createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createAsk } from '../../src/coordination/redis-ask.ts'
import { openRedisCoordination } from '../../src/coordination/redis-coordination.ts'
import { createClient, whenReady } from '../../src/log/redis-clients.ts'
import { realClock } from '../../src/log/redis-deadline.ts'
import { openRedisLog } from '../../src/log/redis-log.ts'
import { script } from '../../src/log/redis-script.ts'
import { parseRedisUrl } from '../../src/log/redis-url.ts'
import { startRedis } from '../support/redis.ts'

const TIMEOUT_MS = 200

test('what an operator is told of a Redis that is gone or frozen is in plain words, of the log and the coordination', async () => {
  const redis = await startRedis()
  onTestFinished(redis.close)
  const log = await openRedisLog({ url: redis.url, timeoutMs: TIMEOUT_MS, ttlMs: 60_000, waitReplicas: 0 })
  onTestFinished(() => log.close())
  const target = parseRedisUrl(redis.url)
  const client = createClient(target, 'commands', TIMEOUT_MS)
  onTestFinished(() => client.disconnect())
  await whenReady(client, target.description, TIMEOUT_MS)
  const ask = createAsk({ client, clock: realClock, reach: { notAfter: () => 0 }, timeoutMs: TIMEOUT_MS })
  const ping = script("return redis.call('PING')")

  redis.freeze()
  const isSilent = /^Redis (?:did not answer in time|failed)(?:: (?:it does not answer|there is no connection to it))?$/
  await expect(log.check()).rejects.toThrow(isSilent)
  await expect(ask.once(ping, [], [])).rejects.toThrow(isSilent)
  redis.wake()

  await redis.kill()
  // The first ones may find the connection before it is known to be lost.
  await expect
    .poll(() => log.check().catch(({ message }) => message))
    .toBe('Redis did not answer in time: there is no connection to it')
  await expect
    .poll(() => ask.once(ping, [], []).catch(({ message }) => message))
    .toBe('Redis failed: there is no connection to it')
})

test('so it is at the start, for each kind of Redis, and for what is none', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await new Promise((resolve) => silent.once('listening', resolve))
  onTestFinished(() => void silent.close())
  const address = silent.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const why = (url: string) => openRedisCoordination({ url, timeoutMs: TIMEOUT_MS }).catch(({ message }) => message)
  expect(await why('redis://127.0.0.1:1')).toBe(
    'redis at 127.0.0.1:1 cannot be reached: connect ECONNREFUSED 127.0.0.1:1',
  )
  expect(await why(`redis://127.0.0.1:${port}`)).toBe(
    `redis at 127.0.0.1:${port} cannot be reached: it does not answer`,
  )
  expect(await why('redis+sentinel://127.0.0.1:1/one')).toMatch(/: no sentinel answers: there is no connection to it$/)
  expect(await why('redis+cluster://127.0.0.1:1')).toMatch(/: no node of its Cluster answers$/)
})

test('why a Redis cannot be used as a Cluster is told in its own words, and never with what was sent to it', async () => {
  const clusterless = await startRedis()
  onTestFinished(clusterless.close)
  const locked = await startRedis({ args: ['--rename-command', 'AUTH', '', '--rename-command', 'HELLO', ''] })
  onTestFinished(locked.close)
  const secret = 'a-secret'
  const why = (url: string) => openRedisCoordination({ url, timeoutMs: TIMEOUT_MS }).catch(({ message }) => message)
  expect(await why(`redis+cluster://127.0.0.1:${clusterless.port}`)).toBe(
    `redis cluster at 127.0.0.1:${clusterless.port} cannot be reached: a node says ERR This instance has cluster support disabled`,
  )
  const at = `127.0.0.1:${locked.port}`
  expect(await why(`redis://:${secret}@${at}`)).toBe(`redis at ${at} cannot be reached: ERR unknown command 'auth'`)
  expect(await why(`redis+cluster://:${secret}@${at}`)).toBe(
    `redis cluster at ${at} cannot be reached: a node says ERR unknown command 'auth'`,
  )
})
