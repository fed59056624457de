import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { isLong } from '../../support/faults/fault-run.ts'
import { judge } from '../../support/faults/judge.ts'
import { setStage } from '../../support/faults/stage.ts'
import { startRedis, until } from '../../support/redis.ts'
import { startRedisProxy } from '../../support/redis-proxy.ts'

const TIMEOUT = { timeout: 300_000 }
const FAULTS = 20
const CUTS = 5_000

async function proxiedRedis() {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const proxy = await startRedisProxy(redis)
  onTestFinished(() => proxy.close())
  return proxy
}

test.runIf(isLong)(`replies of Redis are swallowed, ${FAULTS} times`, TIMEOUT, async () => {
  const proxy = await proxiedRedis()
  const stage = await setStage('swallowed', proxy.url)
  for (let fault = 0; fault < FAULTS; fault++) {
    await sleep(1_000 + 1_000 * stage.random.next())
    await stage.strike()
    const before = proxy.swallowed
    proxy.swallowReplies()
    await until(() => proxy.swallowed > before)
  }
  await sleep(1_500)
  const notes = () => `${proxy.swallowed} packets swallowed`
  await judge(stage, { scenario: "Redis's replies swallowed by the network", notes })
})

test.runIf(isLong)(`pub/sub connections are cut, ${FAULTS} times`, TIMEOUT, async () => {
  const proxy = await proxiedRedis()
  const stage = await setStage('pubsub', proxy.url)
  let cut = 0
  for (let fault = 0; fault < FAULTS; fault++) {
    await sleep(500 + 1_000 * stage.random.next())
    await stage.strike()
    if (stage.random.next() < 0.5) {
      const subscribers = proxy.cutSubscribers()
      expect(subscribers).toBeGreaterThan(0)
      cut += subscribers
    } else {
      const before = proxy.swallowed
      proxy.swallowWakeUps()
      await until(() => proxy.swallowed > before)
    }
  }
  const verdict = await judge(stage, {
    scenario: 'pub/sub connections cut or gone deaf',
    notes: () => `${cut} connections cut, ${proxy.swallowed} wake-ups swallowed`,
  })
  expect(verdict.outcomes).toEqual({ completed: verdict.turns })
})

test.runIf(isLong)('G2 clients are cut at every frame, and come back to another node each time', TIMEOUT, async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const stage = await setStage('cut', redis.url, { isCut: true })
  const { chatters } = stage.chats
  const cuts = () => chatters.reduce((sum, { counts }) => sum + counts.connections - 1, 0)
  await until(() => cuts() >= CUTS)
  const verdict = await judge(stage, {
    scenario: 'clients cut at every frame',
    recoveries: [],
    struck: () => ({ faults: cuts(), midAnswer: chatters.reduce((sum, { counts }) => sum + counts.cutInAnswer, 0) }),
  })
  expect(verdict.outcomes).toEqual({ completed: verdict.turns })
})
