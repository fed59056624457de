import { afterAll, beforeAll } from 'vitest'
import { openRedisLog, type RedisLogOptions } from '../../src/log/redis-log.ts'
import { channelLogContract, type LogUnderTest } from '../contracts/channel-log.ts'
import { type RedisProcess, startCluster, startRedis, startSentinel } from '../support/redis.ts'

const TTL_MS = 3_600_000

interface Deployment {
  readonly url: string
  readonly masters: readonly RedisProcess[]
  close(): Promise<void>
}

async function single(): Promise<Deployment> {
  const redis = await startRedis()
  return { url: redis.url, masters: [redis], close: () => redis.close() }
}

async function underSentinel(): Promise<Deployment> {
  const { url, master, close } = await startSentinel()
  return { url, masters: [master], close }
}

const KINDS = [
  { name: 'redis, a single server', waitReplicas: 0, start: single },
  { name: 'redis, under Sentinel', waitReplicas: 0, start: underSentinel },
  { name: 'redis, under Sentinel, confirmed by a replica', waitReplicas: 1, start: underSentinel },
  { name: 'redis, a Cluster', waitReplicas: 0, start: () => startCluster() },
  { name: 'redis, a Cluster, confirmed by a replica', waitReplicas: 1, start: () => startCluster({ replicas: 1 }) },
]

/** One deployment for all tests of a contract; each begins with an empty store. */
let deployments: Deployment[] = []

// All at once: a Cluster takes writes after two seconds, however fast it was made.
beforeAll(async () => {
  deployments = await Promise.all(KINDS.map(({ start }) => start()))
})
afterAll(() => Promise.all(deployments.map((each) => each.close())))

for (const [at, { name, waitReplicas }] of KINDS.entries()) {
  channelLogContract(name, {
    outlives: true,
    async open(now): Promise<LogUnderTest> {
      const { url, masters } = deployments[at] as Deployment
      for (const master of masters) await master.call('flushall')
      const options: RedisLogOptions = { url, ttlMs: TTL_MS, waitReplicas, now }
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
