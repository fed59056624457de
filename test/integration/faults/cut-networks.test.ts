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
  const { chats, random } = await setStage('swallowed', proxy.url)
  const faults: number[] = []
  for (let fault = 0; fault < FAULTS; fault++) {
    await sleep(1_000 + 1_000 * random.next())
    faults.push(performance.now())
    proxy.swallowReplies()
  }
  await sleep(1_500)
  await judge(chats, { scenario: "Redis's replies swallowed by the network", faults })
})

test.runIf(isLong)(`pub/sub connections are cut, ${FAULTS} times`, TIMEOUT, async () => {
  const proxy = await proxiedRedis()
  const { chats, random } = await setStage('pubsub', proxy.url)
  const faults: number[] = []
  let cut = 0
  for (let fault = 0; fault < FAULTS; fault++) {
    await sleep(500 + 1_000 * random.next())
    faults.push(performance.now())
    if (random.next() < 0.5) cut += proxy.cutSubscribers()
    else proxy.swallowWakeUps()
  }
  const verdict = await judge(chats, {
    scenario: 'pub/sub connections cut or gone deaf',
    faults,
    notes: () => `${cut} connections cut`,
  })
  expect(verdict.outcomes).toEqual({ completed: verdict.turns })
})

test.runIf(isLong)('G2 clients are cut at every frame, and come back to another node each time', TIMEOUT, async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const { chats } = await setStage('cut', redis.url, { isCut: true })
  const cuts = () => chats.chatters.reduce((sum, { counts }) => sum + counts.connections - 1, 0)
  await until(() => cuts() >= CUTS)
  const faults = Array.from({ length: cuts() }, () => 0)
  const verdict = await judge(chats, { scenario: 'clients cut at every frame', faults, recoveries: [] })
  expect(verdict.outcomes).toEqual({ completed: verdict.turns })
})
