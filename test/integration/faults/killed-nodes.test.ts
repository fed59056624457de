import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { isLong } from '../../support/faults/fault-run.ts'
import { judge } from '../../support/faults/judge.ts'
import { endsAfter } from '../../support/faults/recovery.ts'
import { quantile } from '../../support/faults/report.ts'
import { setStage } from '../../support/faults/stage.ts'
import { startRedis } from '../../support/redis.ts'

/** From the death of a turn's owner to its end for everybody, SPEC.md C14. */
const TAKEOVER_MS = 5_000
const KILLS = isLong ? 12 : 1
/** After a kill, in ms: the turns of the dead node have ended by then. */
const PAUSE_MS = 5_500

test(`C14 a node is killed with -9 at random words, ${KILLS} times`, { timeout: 300_000 }, async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const { deployment, chats, random } = await setStage('killed', redis.url)
  const faults: number[] = []
  const takeovers: number[] = []
  let interrupted = 0
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(1_500 + 1_000 * random.next())
    const victim = random.pick(deployment.nodes)
    const begin = performance.now()
    faults.push(begin)
    await Promise.all([deployment.kill(victim), deployment.start()])
    await sleep(PAUSE_MS)
    const turns = new Set<string>()
    for (const { ends, seen } of chats.chatters) {
      const shown = seen().turns
      for (const [turn, end] of ends) if (end > begin && shown.get(turn)?.outcome === 'interrupted') turns.add(turn)
    }
    interrupted += turns.size
    takeovers.push(...endsAfter(begin, turns, chats.chatters))
  }
  const verdict = await judge(chats, { scenario: 'node killed (-9) in mid-answer', faults, recoveries: takeovers })
  expect(interrupted).toBeGreaterThan(0)
  expect(verdict.outcomes.interrupted).toBe(interrupted)
  expect(quantile(takeovers, 1)).toBeLessThan(TAKEOVER_MS)
})
