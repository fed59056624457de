import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { keysOf, slotOf } from '../../../src/log/redis-keys.ts'
import { type FailingOver, shardOf, watchedBySentinel } from '../../support/faults/failover.ts'
import { isLong } from '../../support/faults/fault-run.ts'
import { judge } from '../../support/faults/judge.ts'
import { freshWelcomes, type Stage, setStage } from '../../support/faults/stage.ts'
import { SLOTS, startCluster, startSentinel } from '../../support/redis.ts'

const TIMEOUT = { timeout: 300_000 }
const FAILOVERS = isLong ? 5 : 1
/** Sentinels ask every second: with less, one that has just heard of a new master takes it for dead, and there is a second failover. */
const DOWN_AFTER_MS = 1_500
/** Less than the sentinels need to take a replica for dead. */
const BEHIND_MS = 300
/** How long the chats go on after a failover, before the killed master comes back. */
const SETTLE_MS = isLong ? 2_000 : 1_500

/** Between faults, so that chats are in the middle of it. */
const aWhile = (stage: Stage) => sleep(isLong ? 1_500 + 1_000 * stage.random.next() : 500)

/** A master is killed under many chats, and a replica takes over; answers how long it took to do so, in ms. */
async function failOver(
  stage: Stage,
  group: FailingOver,
  { isStruck = () => true, killed = () => {} }: { isStruck?: (channel: string) => boolean; killed?: () => void } = {},
): Promise<number> {
  const master = await group.master()
  const { at } = await stage.strike({ isStruck })
  await master.kill()
  killed()
  const successor = await group.successorOf(master)
  const taken = performance.now() - at
  expect(successor).not.toBe(master)
  await sleep(SETTLE_MS)
  return taken
}

const slowest = (taken: readonly number[]) => `a successor after at most ${(Math.max(...taken) / 1000).toFixed(2)} s`

test.runIf(isLong)(
  `G8 Sentinel fails over ${FAILOVERS} times, REDIS_WAIT_REPLICAS=0: nothing is lost in silence`,
  TIMEOUT,
  async () => {
    const redis = await startSentinel({ downAfterMs: DOWN_AFTER_MS })
    onTestFinished(() => redis.close())
    const group = watchedBySentinel(redis)
    const stage = await setStage('sentinel-0', redis.url, { env: { REDIS_WAIT_REPLICAS: '0' } })
    const taken: number[] = []
    for (let n = 0; n < FAILOVERS; n++) {
      await aWhile(stage)
      const [master, [replica]] = [await group.master(), await group.replicas()]
      const before = freshWelcomes(stage)
      // The replica falls behind before the master dies, so that something is lost.
      replica?.freeze()
      await master.call('client', 'kill', 'type', 'replica')
      await sleep(BEHIND_MS)
      taken.push(await failOver(stage, group, { killed: () => replica?.wake() }))
      expect(freshWelcomes(stage)).toBeGreaterThan(before)
      if (n < FAILOVERS - 1) await group.bringBack(master)
    }
    const verdict = await judge(stage, {
      scenario: 'Sentinel failover, REDIS_WAIT_REPLICAS=0',
      mayLose: true,
      notes: () => slowest(taken),
    })
    expect(verdict.told).toBeGreaterThan(0)
  },
)

test(`G8 Sentinel fails over ${FAILOVERS} times, REDIS_WAIT_REPLICAS=1: nothing is lost`, TIMEOUT, async () => {
  // One replica more than must confirm, so that the one that is left has somebody to be confirmed by.
  const redis = await startSentinel({ replicas: 2, downAfterMs: DOWN_AFTER_MS })
  onTestFinished(() => redis.close())
  const group = watchedBySentinel(redis)
  const stage = await setStage('sentinel-1', redis.url, { env: { REDIS_WAIT_REPLICAS: '1' } })
  await aWhile(stage)
  const before = freshWelcomes(stage)
  const taken: number[] = []
  for (let n = 0; n < FAILOVERS; n++) {
    const master = await group.master()
    taken.push(await failOver(stage, group))
    if (n < FAILOVERS - 1) await group.bringBack(master)
  }
  await judge(stage, { scenario: 'Sentinel failover, REDIS_WAIT_REPLICAS=1', notes: () => slowest(taken) })
  // Nobody had to begin anew: all went on under the epochs of the successors.
  expect(freshWelcomes(stage)).toBe(before)
})

test.runIf(isLong)(
  `G8 masters of a Cluster are lost ${FAILOVERS} times, and their replicas take over`,
  TIMEOUT,
  async () => {
    const cluster = await startCluster({ replicas: 1 })
    onTestFinished(() => cluster.close())
    const stage = await setStage('cluster', cluster.url)
    const shards = cluster.masters.length
    const taken: number[] = []
    for (let n = 0; n < FAILOVERS; n++) {
      await aWhile(stage)
      const shard = shardOf(cluster, n % shards)
      const master = await shard.master()
      const isOfShard = (channel: string) =>
        Math.floor((slotOf(keysOf(`ai-chat/${channel}`).log) * shards) / SLOTS) === n % shards
      taken.push(await failOver(stage, shard, { isStruck: isOfShard }))
      await shard.bringBack(master)
    }
    await judge(stage, {
      scenario: 'one Cluster master of three killed',
      mayLose: true,
      notes: () => slowest(taken),
    })
  },
)
