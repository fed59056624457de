import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { isLong } from '../../support/faults/fault-run.ts'
import { judge } from '../../support/faults/judge.ts'
import { setStage } from '../../support/faults/stage.ts'
import { startCluster, startSentinel, until } from '../../support/redis.ts'

const TIMEOUT = { timeout: 300_000 }
const SETTLE_MS = 3_000
/** Less than the sentinels need to take a replica for dead. */
const BEHIND_MS = 300

/** A Redis's master is killed under many chats, and a replica takes over. */
async function failOver(waitReplicas: 0 | 1) {
  // One replica more than must confirm, so that the one that is left has somebody to be confirmed by.
  const redis = await startSentinel({ replicas: waitReplicas + 1 })
  onTestFinished(() => redis.close())
  const { chats, random } = await setStage(`sentinel-${waitReplicas}`, redis.url, {
    env: { REDIS_WAIT_REPLICAS: `${waitReplicas}` },
  })
  await sleep(2_000 + 1_000 * random.next())
  if (waitReplicas === 0) {
    // The replica falls behind before the master dies, so that something is lost.
    redis.replicas[0]?.freeze()
    await redis.master.call('client', 'kill', 'type', 'replica')
    await sleep(BEHIND_MS)
  }
  const faults = [performance.now()]
  await redis.master.kill()
  redis.replicas[0]?.wake()
  await until(async () => (await redis.masterPort()) !== redis.master.port)
  await sleep(SETTLE_MS)
  return { chats, faults }
}

test.runIf(isLong)('G8 Sentinel fails over, REDIS_WAIT_REPLICAS=0: nothing is lost in silence', TIMEOUT, async () => {
  const { chats, faults } = await failOver(0)
  const verdict = await judge(chats, { scenario: 'Sentinel failover, REDIS_WAIT_REPLICAS=0', faults, mayLose: true })
  expect(verdict.told).toBeGreaterThan(0)
})

test.runIf(isLong)('G8 Sentinel fails over, REDIS_WAIT_REPLICAS=1: nothing is lost', TIMEOUT, async () => {
  const { chats, faults } = await failOver(1)
  const verdict = await judge(chats, { scenario: 'Sentinel failover, REDIS_WAIT_REPLICAS=1', faults })
  expect(verdict.told).toBe(0)
})

test.runIf(isLong)('G8 a master of a Cluster is lost, and its replica takes over', TIMEOUT, async () => {
  const cluster = await startCluster({ replicas: 1 })
  onTestFinished(() => cluster.close())
  const { chats, random } = await setStage('cluster', cluster.url)
  await sleep(2_000 + 1_000 * random.next())
  const faults = [performance.now()]
  await cluster.masters[0]?.kill()
  await until(async () => String(await cluster.masters[1]?.call('cluster', 'info')).includes('cluster_state:ok'))
  await sleep(2 * SETTLE_MS)
  await judge(chats, { scenario: 'one Cluster master of three killed', faults, mayLose: true })
})
