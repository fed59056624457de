import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { isLong } from '../../support/faults/fault-run.ts'
import { judge } from '../../support/faults/judge.ts'
import { setStage } from '../../support/faults/stage.ts'
import { startRedis } from '../../support/redis.ts'

const ROUNDS = 3
/** Longer than the longest answer, in ms. */
const DRAIN_MS = 8_000

test.runIf(isLong)(
  `L8 all nodes are restarted one after the other, ${ROUNDS} times: every turn is completed`,
  {
    timeout: 300_000,
  },
  async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.close())
    const stage = await setStage('rolling', redis.url, {
      env: { DRAIN_MS: `${DRAIN_MS}` },
    })
    const { deployment } = stage
    for (let round = 0; round < ROUNDS; round++) {
      for (const old of [...deployment.nodes]) {
        await sleep(1_000)
        await deployment.start()
        deployment.withdraw(old)
        await stage.strike({ node: old })
        await old.server.kill('SIGTERM')
      }
    }
    const verdict = await judge(stage, { scenario: 'rolling restart of all nodes' })
    expect(verdict.outcomes).toEqual({ completed: verdict.turns })
    expect(verdict.turns).toBeGreaterThan(0)
  },
)
