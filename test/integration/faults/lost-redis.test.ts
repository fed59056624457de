import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { isLong } from '../../support/faults/fault-run.ts'
import { judge } from '../../support/faults/judge.ts'
import { freshWelcomes, setStage } from '../../support/faults/stage.ts'
import { type RedisProcess, startRedis } from '../../support/redis.ts'

const FAULTS = isLong ? 6 : 1
const TIMEOUT = { timeout: 300_000 }

async function durableRedis(): Promise<RedisProcess> {
  const redis = await startRedis({ durable: true })
  onTestFinished(() => redis.close())
  return redis
}

test.runIf(isLong)(`G8 Redis is killed and restarted with what it had saved, ${FAULTS} times`, TIMEOUT, async () => {
  const redis = await durableRedis()
  const stage = await setStage('redis-killed', redis.url)
  let before = 0
  for (let fault = 0; fault < FAULTS; fault++) {
    await sleep(1_500 + 1_000 * stage.random.next())
    await stage.strike()
    if (fault === 0) before = freshWelcomes(stage)
    await redis.kill()
    await sleep(3_000 * stage.random.next())
    await redis.restart()
    await sleep(2_000)
  }
  const verdict = await judge(stage, { scenario: 'Redis killed, restarted with its AOF' })
  expect(verdict.outcomes).not.toEqual({ completed: verdict.turns })
  // It had saved all, and nobody had to begin anew.
  expect(freshWelcomes(stage)).toBe(before)
})

test(`G8 Redis is restarted empty, ${FAULTS} times: told by a new epoch, never a hole`, TIMEOUT, async () => {
  const redis = await durableRedis()
  const stage = await setStage('redis-empty', redis.url)
  for (let fault = 0; fault < FAULTS; fault++) {
    await sleep(1_500 + 1_000 * stage.random.next())
    await stage.strike()
    await redis.kill()
    await sleep(1_000 * stage.random.next())
    await redis.restart({ empty: true })
    await sleep(2_000)
  }
  const verdict = await judge(stage, { scenario: 'Redis restarted empty', mayLose: true })
  expect(verdict.told).toBeGreaterThan(0)
})
