import { afterEach, describe, expect, test } from 'vitest'
import { type Appended, LogError } from '../../src/log/channel-log.ts'
import { keysOf, slotOf } from '../../src/log/redis-keys.ts'
import { openRedisLog, type RedisLog } from '../../src/log/redis-log.ts'
import {
  isReplicating,
  MASTER_NAME,
  type RedisSentinel,
  startCluster,
  startRedis,
  startSentinel,
  until,
} from '../support/redis.ts'
import { contentsOf, type Heard, listen, say } from '../support/redis-heard.ts'

const KEY = 'room/a'
const ending: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end()
})

async function open(url: string, waitReplicas: number): Promise<RedisLog> {
  const log = await openRedisLog({ url, ttlMs: 3_600_000, waitReplicas })
  ending.push(() => log.close())
  return log
}

/** A master, replicas of which one may go, and two nodes that use them. */
async function deploy(waitReplicas: number) {
  const redis = await startSentinel({ downAfterMs: 400, replicas: waitReplicas + 1 })
  ending.push(() => redis.close())
  const nodes = [await open(redis.url, waitReplicas), await open(redis.url, waitReplicas)] as const
  const heard = [await listen(nodes[0], KEY), await listen(nodes[1], KEY)] as const
  return { redis, nodes, heard }
}

const failedOver = ({ masterPort, master }: RedisSentinel) => until(async () => (await masterPort()) !== master.port)

/** Says it until it is acknowledged, as a user would who tries again. */
async function insist(log: RedisLog, heard: Heard, key: string, content: string): Promise<Appended> {
  let done: Appended | undefined
  await until(async () => {
    const place = { epoch: heard.epoch ?? 'e1', seenHead: heard.offset }
    done = await say(log, key, content, place).catch((error: unknown) => {
      if (error instanceof LogError && error.code === 'failed') return undefined
      throw error
    })
    return done !== undefined
  })
  return done as Appended
}

describe('Sentinel', () => {
  test('G8 without confirmation, what a failover lost is told as a new epoch: no hole, no offset twice', async () => {
    const { redis, nodes, heard } = await deploy(0)
    const [replica] = redis.replicas
    await say(nodes[0], KEY, 'kept')
    await until(async () => Number(await replica?.call('exists', `sw:{${KEY}}:log`)) === 1)
    replica?.freeze()
    // Else what is in its socket would reach it all the same.
    await redis.master.call('client', 'kill', 'type', 'replica')
    for (const content of ['lost 1', 'lost 2']) await say(nodes[0], KEY, content, { seenHead: heard[0].offset })
    await redis.master.kill()
    replica?.wake()
    await failedOver(redis)

    // The epoch changes although nobody writes: the followers had seen more than there is.
    await heard[0].wasReset()
    await until(() => heard[1].epoch !== 'e1')
    const done = await insist(nodes[1], heard[1], KEY, 'after')
    expect(done.epoch).not.toBe('e1')
    expect(done.offset).toBe(2)
    await Promise.all(heard.map((each) => each.said('after')))
    expect(await contentsOf(nodes[0], KEY)).toEqual(['kept', 'after'])
    const old = await nodes[0].read(KEY, { epoch: 'e1', offset: 3 }, { records: 9, bytes: 999 })
    expect(old).toMatchObject({ honoured: false, head: { epoch: done.epoch } })
    expect(heard.flatMap(({ faults }) => faults)).toEqual([])
  })

  test('G8 a master that was frozen, failed over and woke is left behind: its late writers cause no second offset', async () => {
    const { redis, nodes, heard } = await deploy(0)
    await say(nodes[0], KEY, 'one')
    redis.master.freeze()
    const first = insist(nodes[0], heard[0], KEY, 'two')
    await failedOver(redis)
    const { epoch } = await first
    redis.master.wake()
    for (const [n, content] of ['three', 'four', 'five'].entries()) {
      const node = n % 2 === 0 ? 0 : 1
      await insist(nodes[node], heard[node], KEY, content)
    }
    await Promise.all(heard.map((each) => each.said('five')))
    expect(epoch).not.toBe('e1')
    expect(await contentsOf(nodes[1], KEY)).toEqual(['one', 'two', 'three', 'four', 'five'])
    expect(heard.flatMap(({ faults }) => faults)).toEqual([])
  })

  test('G5 confirmed by a replica: a failover loses nothing that was acknowledged, and all go on from where they are', async () => {
    const { redis, nodes, heard } = await deploy(1)
    const acknowledged: string[] = []
    let last = 0
    // The master dies in the middle of it, so that its last word may or may not have gone out.
    for (let n = 0; ; n++) {
      const done = await say(nodes[0], KEY, `m${n}`, { seenHead: heard[0].offset }).catch(() => undefined)
      if (done === undefined) break
      acknowledged.push(`m${n}`)
      last = done.offset
      if (n === 50) void redis.master.kill()
    }
    await failedOver(redis)
    // What the new master has is shown when the other replica has confirmed it, whether somebody writes or not.
    await until(async () => {
      const survived = await contentsOf(nodes[1], KEY).catch((): readonly string[] => [])
      return acknowledged.every((content) => survived.includes(content))
    })
    const { epoch } = await insist(nodes[1], heard[1], KEY, 'after')
    expect(epoch).not.toBe('e1')
    for (const node of nodes) {
      const page = await node.read(KEY, { epoch: 'e1', offset: last }, { records: 1, bytes: 1 })
      expect(page).toMatchObject({ honoured: true, head: { epoch } })
    }
    await Promise.all(heard.map((each) => each.said('after')))
    const contents = await contentsOf(nodes[1], KEY)
    expect(contents.filter((content) => acknowledged.includes(content))).toEqual(acknowledged)
    expect(new Set(contents).size).toBe(contents.length)
    expect(heard.flatMap(({ faults }) => faults)).toEqual([])
    // The second node was told of the epoch that the first had proposed; both of the successor's, and of no other.
    const told = heard.map(({ resets }) => resets.map((head) => head.epoch))
    expect(told).toEqual([[epoch], ['e1', epoch]])
  })

  test('G8 confirmed by one replica, and another one is promoted: what that one lacks is lost, and told as a new epoch', async () => {
    const { redis, nodes, heard } = await deploy(1)
    const [, behind] = redis.replicas
    // Sentinel looks at this before it looks at who has more, which it asks every ten seconds otherwise.
    await behind?.call('config', 'set', 'replica-priority', 1)
    for (const sentinel of redis.sentinels) {
      await sentinel.call('sentinel', 'debug', 'info-period', 100)
      await until(async () => JSON.stringify(await sentinel.call('sentinel', 'replicas', MASTER_NAME)).includes('"1"'))
    }
    await say(nodes[0], KEY, 'kept')
    await until(async () => Number(await behind?.call('exists', keysOf(KEY).log)) === 1)
    const [, address] = /laddr=(\S+)/.exec(String(await behind?.call('client', 'list', 'type', 'master'))) ?? []
    behind?.freeze()
    await redis.master.call('client', 'kill', 'addr', address ?? '')
    for (const content of ['lost 1', 'lost 2']) {
      // The other replica has confirmed it.
      expect(await say(nodes[0], KEY, content, { seenHead: heard[0].offset })).toMatchObject({ epoch: 'e1' })
    }
    await Promise.all(heard.map((each) => each.said('lost 2')))
    await redis.master.kill()
    behind?.wake()
    await failedOver(redis)

    expect(await redis.masterPort()).toBe(behind?.port)
    await Promise.all(heard.map((each) => until(() => each.epoch !== 'e1')))
    await insist(nodes[1], heard[1], KEY, 'after')
    await Promise.all(heard.map((each) => each.said('after')))
    expect(await contentsOf(nodes[0], KEY)).toEqual(['kept', 'after'])
    expect(heard.flatMap(({ faults }) => faults)).toEqual([])
  })
})

/** A master and a replica without sentinels, and two nodes that wait for it. */
async function deployPair() {
  const master = await startRedis()
  ending.push(() => master.close())
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', `${master.port}`] })
  ending.push(() => replica.close())
  await isReplicating(replica, master)
  return { master, replica, log: await open(master.url, 1), other: await open(master.url, 1) }
}

test('what a master had shown, and its successor does not know to be shown, is confirmed again and read at once', async () => {
  const { master, log, other } = await deployPair()
  for (const content of ['one', 'two']) await say(log, KEY, content)
  // As after a failover that lost the last word of the old master, which was that its last entry is shown.
  await master.call('hset', keysOf(KEY).meta, 'shown', 1, 'store', 'another')
  expect(await other.head(KEY)).toMatchObject({ offset: 2 })
  expect(await contentsOf(other, KEY)).toEqual(['one', 'two'])
  const end = await other.read(KEY, { epoch: 'e1', offset: 2 }, { records: 1, bytes: 1 })
  expect(end).toMatchObject({ honoured: true, records: [] })
})

test('what the replica has not confirmed is refused and shown to nobody; a repeat shows it, to everybody', async () => {
  const { replica, log, other } = await deployPair()
  const heard = [await listen(log, KEY), await listen(other, KEY)]
  await say(log, KEY, 'one')
  replica.freeze()
  await expect(say(log, KEY, 'two', { seenHead: 1 })).rejects.toMatchObject({ code: 'failed' })
  await expect(other.check()).rejects.toMatchObject({ code: 'failed' })
  await heard[1]?.said('one')
  expect(await other.head(KEY)).toEqual({ epoch: 'e1', offset: 1 })
  expect(await contentsOf(other, KEY)).toEqual(['one'])
  expect(await log.find(KEY, 'client:anonymous', 'two')).toBeUndefined()
  expect(heard.map((each) => each.offset)).toEqual([1, 1])
  replica.wake()
  await until(async () => (await say(log, KEY, 'two', { seenHead: 1 }).catch(() => undefined))?.repeated === true)
  await Promise.all(heard.map((each) => each.said('two')))
  expect(await contentsOf(other, KEY)).toEqual(['one', 'two'])
  expect(heard.flatMap(({ faults }) => faults)).toEqual([])
})

test('each answer about what stands in the log is a write to be confirmed: WAIT after none says nothing', async () => {
  const { master, log } = await deployPair()
  await say(log, KEY, 'one')
  await say(log, KEY, 'two', { seenHead: 1, judgedAt: 1 })
  const written = async () => {
    const [, calls] = /cmdstat_hset:calls=(\d+)/.exec(String(await master.call('info', 'commandstats'))) ?? []
    return Number(calls)
  }
  const writes = async (work: () => Promise<unknown>) => {
    const before = await written()
    await work()
    return (await written()) - before
  }
  expect(await writes(() => log.head(KEY))).toBe(0)
  expect(await writes(() => say(log, KEY, 'one'))).toBeGreaterThan(0)
  expect(
    await writes(() =>
      expect(say(log, KEY, 'three', { seenHead: 1, judgedAt: 1 })).rejects.toMatchObject({ code: 'stale' }),
    ),
  ).toBeGreaterThan(0)
})

describe('Cluster', () => {
  test('one master is lost: its channels come back with a replica, the others never stop', async () => {
    const cluster = await startCluster({ replicas: 1 })
    ending.push(() => cluster.close())
    const log = await open(cluster.url, 0)
    const other = await open(cluster.url, 0)
    const names = Array.from({ length: 40 }, (_, n) => `room/${n}`)
    const lost = names.filter((key) => slotOf(`sw:{${key}}`) < 16_384 / 3)
    const kept = names.filter((key) => !lost.includes(key))
    const heard = new Map<string, Heard>()
    for (const key of names) heard.set(key, await listen(other, key))
    await Promise.all(names.map((key) => say(log, key, 'one')))
    // All of it is on the replica.
    const [size, copied] = [cluster.masters[0], cluster.replicas[0]].map((each) => () => each?.call('dbsize'))
    await until(async () => (await size?.()) === (await copied?.()))
    await cluster.masters[0]?.kill()
    await Promise.all(kept.map((key) => say(log, key, 'two')))
    const done = await Promise.all(lost.map((key) => insist(log, heard.get(key) as Heard, key, 'two')))
    expect(done.every(({ offset, epoch }) => offset === 2 && epoch !== 'e1')).toBe(true)
    await Promise.all(names.map((key) => heard.get(key)?.said('two')))
    for (const key of names) {
      expect(await contentsOf(other, key)).toEqual(['one', 'two'])
      expect(heard.get(key)?.faults).toEqual([])
    }
    await until(() =>
      log.check().then(
        () => true,
        () => false,
      ),
    )
  })
})
