import { afterAll, beforeAll } from 'vitest'
import { openRedisLog, type RedisLogOptions } from '../../src/log/redis-log.ts'
import { channelLogContract, type LogUnderTest } from '../contracts/channel-log.ts'
import { type RedisProcess, startCluster, startRedis, startSentinel } from '../support/redis.ts'

const TTL_MS = 3_600_000

/** One deployment for all tests of a contract; each begins with an empty store. */
function contract(
  name: string,
  waitReplicas: number,
  start: () => Promise<{ url: string; masters: readonly RedisProcess[]; close(): Promise<void> }>,
): void {
  let deployment: Awaited<ReturnType<typeof start>>
  beforeAll(async () => {
    deployment = await start()
  })
  afterAll(() => deployment.close())

  channelLogContract(name, {
    outlives: true,
    async open(now): Promise<LogUnderTest> {
      for (const master of deployment.masters) await master.call('flushall')
      const options: RedisLogOptions = { url: deployment.url, ttlMs: TTL_MS, waitReplicas, now }
      let log = await openRedisLog(options)
      return {
        log,
        async reopen() {
          await log.close()
          log = await openRedisLog(options)
          return log
        },
        close: () => log.close(),
      }
    },
  })
}

contract('redis, a single server', 0, async () => {
  const redis = await startRedis()
  return { url: redis.url, masters: [redis], close: () => redis.close() }
})

contract('redis, under Sentinel', 0, async () => {
  const { url, master, close } = await startSentinel()
  return { url, masters: [master], close }
})

contract('redis, under Sentinel, confirmed by a replica', 1, async () => {
  const { url, master, close } = await startSentinel()
  return { url, masters: [master], close }
})

contract('redis, a Cluster', 0, startCluster)

contract('redis, a Cluster, confirmed by a replica', 1, () => startCluster({ replicas: 1 }))
