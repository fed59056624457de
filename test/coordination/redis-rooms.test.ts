import { expect, onTestFinished, test } from 'vitest'
import { openRedisCoordination } from '../../src/coordination/redis-coordination.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { type Client, connect } from '../support/client.ts'
import { startRedis, until } from '../support/redis.ts'
import { startServer } from '../support/server.ts'

const LEASE_MS = 900

/** Servers that share a log and a Redis, each with a member in one room. */
async function startThree() {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const log = { ...createMemoryLog(), close: async () => {} }
  const start = async () => {
    const coordination = await openRedisCoordination({ url: redis.url, leaseMs: LEASE_MS })
    onTestFinished(() => coordination.close())
    const { url } = await startServer({}, { log, coordination })
    return { url, coordination }
  }
  return { redis, servers: [await start(), await start(), await start()] as const }
}

async function join(url: string) {
  const client = await connect(`${url}/room/a`)
  const { members } = await client.next('presence')
  return { client, members: Array.isArray(members) ? members : [] }
}

const told = (client: Client, name: string) => client.frames.filter(({ type }) => type === name)

test('R1 R3 over servers: presence, user_joined and user_left, each once; of a server that is gone, too', async () => {
  const { servers } = await startThree()
  const [a, b, c] = [await join(servers[0].url), await join(servers[1].url), await join(servers[2].url)]
  expect(c.members).toHaveLength(3)
  await a.client.next('user_joined')
  await a.client.next('user_joined')
  await b.client.next('user_joined')

  // Nobody is left to say that its member went.
  await servers[2].coordination.close()
  const left = await a.client.next('user_left')
  expect(c.members.at(-1)).toEqual({ client_id: left.client_id })
  expect(await b.client.next('user_left')).toEqual(left)

  await b.client.close()
  expect((await a.client.next('user_left')).client_id).not.toBe(left.client_id)
  await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS))
  expect([told(a.client, 'user_joined'), told(a.client, 'user_left')].map(({ length }) => length)).toEqual([2, 2])
  expect(told(b.client, 'user_left')).toHaveLength(1)
})

test('R1 who comes while Redis has no memory left is told all the same that he himself is there', async () => {
  const { redis, servers } = await startThree()
  const near = await join(servers[1].url)
  await redis.call('config', 'set', 'maxmemory', '1')
  const { client, members } = await join(servers[0].url)
  await redis.call('config', 'set', 'maxmemory', '0')
  const joined = await near.client.next('user_joined')
  expect(members.at(-1)).toEqual({ client_id: joined.client_id })
  expect(told(client, 'user_joined')).toEqual([])
})

test('R1 who came while Redis was away is in the room, and told, when it is back', async () => {
  const { redis, servers } = await startThree()
  const near = await join(servers[1].url)
  await redis.kill()
  const late = await connect(`${servers[1].url}/room/a`)
  await late.next('welcome')
  // (Its entering fails; nothing tells that outside.)
  await new Promise((resolve) => setTimeout(resolve, 100))
  await redis.restart({ empty: true })
  // (A member of another server may miss the signal: its server may not listen again yet.)
  await near.client.next('user_joined')
  await until(async () => (await servers[0].coordination.members('room/a')).length === 2)
})
