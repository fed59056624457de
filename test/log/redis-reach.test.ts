import { expect, onTestFinished, test } from 'vitest'
import { slotOf } from '../../src/log/redis-keys.ts'
import { openRedisLog } from '../../src/log/redis-log.ts'
import { type RedisProcess, startCluster, startRedis, until } from '../support/redis.ts'

/** Follows channels over one log; `away` has the name of a channel each time it is told that its store does not answer. */
async function followAll(url: string, names: readonly string[]) {
  const log = await openRedisLog({ url, ttlMs: 60_000, waitReplicas: 0 })
  onTestFinished(() => log.close())
  const away: string[] = []
  for (const name of names)
    log.follow(name, { record: () => {}, reset: () => {}, unreachable: () => void away.push(name) })
  await Promise.all(names.map((name) => log.head(name)))
  return { log, away }
}

/** Resolves when a Redis has been asked for a sign of life twice: then the first was heard. */
async function answered(redis: RedisProcess) {
  await redis.call('config', 'resetstat')
  await until(
    async () => Number(/cmdstat_time:calls=(\d+)/.exec(String(await redis.call('info', 'commandstats')))?.[1]) > 1,
  )
}

test('C18 a Redis that is frozen, then gone, is told once each time, within a second', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const { log, away } = await followAll(redis.url, ['room/a', 'room/b'])
  redis.freeze()
  let begin = performance.now()
  await until(() => away.length === 2)
  expect(performance.now() - begin).toBeLessThan(1_000)
  // Time for a second word, if there were one: longer than it took to the first.
  await expect(log.check()).rejects.toThrow()
  redis.wake()
  await answered(redis)
  expect(away).toEqual(['room/a', 'room/b'])
  await redis.kill()
  begin = performance.now()
  await until(() => away.length > 2)
  expect(performance.now() - begin).toBeLessThan(1_000)
  expect(away.slice(2)).toEqual(['room/a', 'room/b'])
})

test('C18 one master of a Cluster is gone: its channels alone are told', async () => {
  const cluster = await startCluster({ replicas: 0 })
  onTestFinished(() => cluster.close())
  const names = Array.from({ length: 30 }, (_, n) => `room/${n}`)
  const lost = names.filter((name) => slotOf(`sw:{${name}}`) < 16_384 / 3)
  const { away } = await followAll(cluster.url, names)
  expect(lost.length).toBeGreaterThan(0)
  cluster.masters[0]?.freeze()
  const begin = performance.now()
  await until(() => away.length >= lost.length)
  expect(performance.now() - begin).toBeLessThan(1_000)
  expect(away).toEqual(lost)
})
