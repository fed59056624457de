import { expect, onTestFinished, test } from 'vitest'
import { openRedisCoordination } from '../../src/coordination/redis-coordination.ts'
import { openRedisLog } from '../../src/log/redis-log.ts'
import { startRedis, until } from '../support/redis.ts'
import { contentsOf, say } from '../support/redis-heard.ts'
import { startStallingProxy } from '../support/stalling-proxy.ts'

const KEY = 'room/a'

/** A Redis, and a network that stalls before it. */
async function start() {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const proxy = await startStallingProxy(redis)
  onTestFinished(() => proxy.close())
  return { redis, proxy }
}

async function open(url: string) {
  const log = await openRedisLog({ url, ttlMs: 60_000, waitReplicas: 0 })
  onTestFinished(() => log.close())
  return log
}

test('G1 an append that is told to have failed is not done when its bytes arrive at last', async () => {
  const { redis, proxy } = await start()
  const [near, far] = [await open(redis.url), await open(proxy.url)]
  await say(near, KEY, 'one')
  await say(far, KEY, 'two', { seenHead: 1 })
  proxy.stall()
  // The first is retried over a connection that is made anew, and done. That one stalls, too.
  expect(await say(far, KEY, 'three', { seenHead: 2 })).toMatchObject({ offset: 3, repeated: false })
  redis.freeze()
  await expect(say(far, KEY, 'given up', { seenHead: 3 })).rejects.toMatchObject({ code: 'failed' })
  redis.wake()
  await proxy.arrive()
  await until(() =>
    say(near, KEY, 'four', { seenHead: 3 }).then(
      () => true,
      () => false,
    ),
  )
  expect(await contentsOf(near, KEY)).toEqual(['one', 'two', 'three', 'four'])
})

test('an append that arrives late, but in its time, is done', async () => {
  const { redis } = await start()
  const log = await open(redis.url)
  await say(log, KEY, 'one')
  redis.freeze()
  const late = say(log, KEY, 'two', { seenHead: 1 })
  await new Promise((resolve) => setTimeout(resolve, 300))
  redis.wake()
  expect(await late).toMatchObject({ offset: 2 })
})

test('places that were given up are free, whenever what was sent for them arrives', async () => {
  const { redis, proxy } = await start()
  const coordination = await openRedisCoordination({ url: proxy.url })
  onTestFinished(() => coordination.close())
  const take = () => coordination.take('connections:x', 6)
  const told = async () => {
    const [key] = (await redis.call('keys', 'sw:{places-*}:of:connections:x')) as string[]
    return Number(key === undefined ? 0 : ((await redis.call('hvals', key)) as string[])[0])
  }
  expect(await take()).toBe(true)
  proxy.stall()
  // Of this process's own part, which is told to Redis over a new connection, as is that it is given back.
  expect(await Promise.all([take(), take(), take()])).toEqual([true, true, true])
  await until(async () => (await told()) === 4)
  for (let n = 0; n < 4; n++) await coordination.giveBack('connections:x')
  await until(async () => !((await told()) > 0))
  await proxy.arrive()
  await until(async () => !((await told()) > 0))
  const again = await Promise.all(Array.from({ length: 6 }, take))
  expect(again).toEqual(again.map(() => true))
})
