import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openRedisCoordination, type RedisCoordination } from '../../src/coordination/redis-coordination.ts'
import { coordinationContract } from '../contracts/coordination.ts'
import { fairQueueContract } from '../contracts/fair-queue.ts'
import { sharedRateContract } from '../contracts/shared-rate.ts'
import { type RedisProcess, startCluster, startRedis, until } from '../support/redis.ts'

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

  const startEmpty = async () => {
    for (const master of deployment.masters) await master.call('flushall')
    const coordination = await openRedisCoordination({ url: deployment.url })
    return { coordination, close: () => coordination.close() }
  }
  coordinationContract(name, startEmpty)
  fairQueueContract(name, startEmpty)
  sharedRateContract(name, async () => ({
    ...(await startEmpty()),
    async pass(ms) {
      const begin = performance.now()
      await pause(ms)
      return performance.now() - begin
    },
  }))

  describe(`between processes: ${name}`, () => {
    let a: RedisCoordination
    let b: RedisCoordination
    beforeEach(async () => {
      for (const master of deployment.masters) await master.call('flushall')
      a = await openRedisCoordination({ url: deployment.url })
      b = await openRedisCoordination({ url: deployment.url })
    })
    afterEach(async () => {
      await a.close()
      await b.close()
    })

    test('G9 a signal reaches the other process once, and does not come back', async () => {
      const heard: string[] = []
      for (const channel of ['room/one', 'room/two', 'room/three']) {
        const voice = a.listen(channel, (text) => heard.push(`a: ${text}`))
        const ear = b.listen(channel, (text) => heard.push(`b: ${text}`))
        const isHeard = (text: string) => heard.includes(`b: ${text}`)
        // Until its first one is heard, nothing says that it listens.
        await until(() => {
          voice.send('are you there?')
          return isHeard('are you there?')
        })
        voice.send(`in ${channel} spaces  are kept`)
        await until(() => isHeard(`in ${channel} spaces  are kept`))
        expect(heard.filter((text) => text.includes(channel))).toEqual([`b: in ${channel} spaces  are kept`])
        expect(heard.filter((text) => text.startsWith('a: '))).toEqual([])
        ear.end()
        voice.end()
        heard.length = 0
      }
    })

    test('leases, rooms and places are the same for both, whatever server of Redis keeps them', async () => {
      for (let n = 0; n < 8; n++) {
        const lease = await a.lease(`turn:chat/${n}`, () => {})
        expect(await b.lease(`turn:chat/${n}`, () => {})).toBeUndefined()
        lease?.release()
        await until(async () => ((await b.lease(`turn:chat/${n}`, () => {}))?.token ?? 0) > (lease?.token ?? 0))
        await a.enter(`room/${n}`, 'a')
        expect(await b.enter(`room/${n}`, 'b')).toEqual(['a', 'b'])
        const taken = await Promise.all([a, b, a, b].map((one) => one.take(`connections:${n}`, 3)))
        expect(taken.filter((isTaken) => isTaken)).toHaveLength(3)
      }
    })
  })
}

contract('redis, a single server', async () => {
  const redis = await startRedis()
  return { url: redis.url, masters: [redis], close: () => redis.close() }
})

contract('redis, a Cluster', startCluster)
