import { afterAll, beforeAll } from 'vitest'
import { openRedisCoordination } from '../../src/coordination/redis-coordination.ts'
import { coordinationContract } from '../contracts/coordination.ts'
import { type RedisProcess, startCluster, startRedis } from '../support/redis.ts'

/** One deployment for all tests of a contract; each begins with an empty store. */
function contract(
  name: string,
  start: () => Promise<{ url: string; masters: readonly RedisProcess[]; close(): Promise<void> }>,
): void {
  let deployment: Awaited<ReturnType<typeof start>>
  beforeAll(async () => {
    deployment = await start()
  })
  afterAll(() => deployment.close())

  coordinationContract(name, async () => {
    for (const master of deployment.masters) await master.call('flushall')
    const coordination = await openRedisCoordination({ url: deployment.url })
    return { coordination, close: () => coordination.close() }
  })
}

contract('redis, a single server', async () => {
  const redis = await startRedis()
  return { url: redis.url, masters: [redis], close: () => redis.close() }
})

contract('redis, a Cluster', startCluster)
