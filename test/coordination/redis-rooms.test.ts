import { expect, onTestFinished, test } from 'vitest'
import { openRedisCoordination } from '../../src/coordination/redis-coordination.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { type Client, connect, type Frame } from '../support/client.ts'
import { startRedis, until } from '../support/redis.ts'
import { startServer } from '../support/server.ts'

const LEASE_MS = 900
const ROUNDS = 6

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

/** The members of a `presence`, in an order of their own. */
const idsOf = (members: unknown) => (members as { client_id: unknown }[]).map(({ client_id }) => client_id).sort()

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

test('R5 Redis is emptied again and again: all members of all servers are told the whole list, and nobody joins twice', async () => {
  const { redis, servers } = await startThree()
  const [one, two] = servers
  const all = [await join(one.url), await join(two.url), await join(one.url), await join(two.url)]
  const everybody = idsOf(all.at(-1)?.members)
  expect(everybody).toHaveLength(4)
  for (let round = 0; round < ROUNDS; round++) {
    // At any moment between two renewals.
    await new Promise((resolve) => setTimeout(resolve, (round * LEASE_MS) / ROUNDS))
    await redis.call('flushall')
    // Who comes now may find nobody of the other server there.
    const late = await join(one.url)
    const expected = [...everybody, late.client.frames[0]?.connection_id].sort().join()
    const isWhole = ({ members }: Frame) => idsOf(members).join() === expected
    for (const { client } of [...all, late]) await client.next('presence', isWhole)
    await late.client.close()
    for (const { client } of all) await client.next('user_left')
  }
  for (const { client } of all) {
    const [joined, left] = ['user_joined', 'user_left'].map((name) =>
      told(client, name).map((frame) => frame.client_id),
    )
    expect(new Set(joined).size).toBe(joined?.length)
    expect(new Set(left).size).toBe(ROUNDS)
    expect(left).toHaveLength(ROUNDS)
  }
})

test('R5 Redis is emptied: who is there is told once or twice by each process, however many are in the room', async () => {
  const { redis, servers } = await startThree()
  const told = servers.map(({ coordination }) => {
    const lists: (readonly string[])[] = []
    coordination.onRefilled((_, members) => lists.push(members))
    return lists
  })
  const [one, two] = servers
  const names = Array.from({ length: 200 }, (_, n) => `m${n}`)
  await Promise.all(names.map((name, n) => (n % 2 === 0 ? one : two).coordination.enter('room/a', name)))
  await redis.call('flushall')
  const lastOf = (at: number) => told[at]?.at(-1)?.toSorted()
  for (const at of [0, 1]) await until(() => lastOf(at)?.length === names.length)
  await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS))
  for (const at of [0, 1]) {
    expect(lastOf(at)).toEqual(names.toSorted())
    expect(told[at]?.length).toBeLessThanOrEqual(2)
  }
  // It has nobody in the room.
  expect(told[2]).toEqual([])
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
