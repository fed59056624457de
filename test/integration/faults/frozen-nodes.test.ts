import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { isLong } from '../../support/faults/fault-run.ts'
import { judge } from '../../support/faults/judge.ts'
import { setStage } from '../../support/faults/stage.ts'
import { startRedis } from '../../support/redis.ts'

const FREEZES = 8
/** Longer than a lease, in ms. */
const FROZEN_MS = 5_000

test.runIf(isLong)(
  `C14 a node is frozen for longer than its lease and woken, ${FREEZES} times`,
  { timeout: 300_000 },
  async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.close())
    // A client finds out by its own ping that nobody answers.
    const stage = await setStage('frozen', redis.url, {
      env: { HEARTBEAT_INTERVAL_MS: '500', HEARTBEAT_TIMEOUT_MS: '500' },
    })
    const { deployment, random } = stage
    for (let freeze = 0; freeze < FREEZES; freeze++) {
      await sleep(1_500 + 1_000 * random.next())
      const victim = await stage.pickStreaming()
      await stage.strike({ node: victim })
      deployment.withdraw(victim)
      victim.server.process.kill('SIGSTOP')
      await sleep(FROZEN_MS + 1_000 * random.next())
      victim.server.process.kill('SIGCONT')
      deployment.offer(victim)
    }
    const verdict = await judge(stage, {
      scenario: 'node frozen beyond its lease, then woken',
      notes: ({ brokenOff }) => `${brokenOff} broken off in mid-answer`,
    })
    // Each had the lease of an answer that others took over.
    expect(verdict.brokenOff).toBeGreaterThanOrEqual(FREEZES)
  },
)
