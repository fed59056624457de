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
/** So many answers are to be broken off by the deaths of their nodes; kills go on until they are. */
const BROKEN_OFF = isLong ? 200 : 1
/** After a kill, in ms: the turns of the dead node have ended by then. */
const PAUSE_MS = 5_500
const MEMBERS = 3

test(`C14 nodes are killed with -9 at random words, until ${BROKEN_OFF} answers were broken off`, {
  timeout: 300_000,
}, async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const stage = await setStage('killed', redis.url, { members: MEMBERS })
  const { deployment, chats, random } = stage
  const takeovers: number[] = []
  const words: number[] = []
  let interrupted = 0
  while (interrupted < BROKEN_OFF) {
    await sleep(1_500 + 1_000 * random.next())
    const victim = await stage.pickStreaming()
    const { at } = await stage.strike({ node: victim })
    words.push(...deployment.midAnswer(victim).map((answer) => answer.words))
    await Promise.all([deployment.kill(victim), deployment.start()])
    await sleep(PAUSE_MS)
    const turns = new Set<string>()
    for (const { ends, seen } of chats.chatters) {
      const shown = seen().turns
      for (const [turn, end] of ends) if (end > at && shown.get(turn)?.outcome === 'interrupted') turns.add(turn)
    }
    interrupted += turns.size
    const shown = endsAfter(at, turns, chats.chatters)
    expect(shown).toHaveLength(turns.size * MEMBERS)
    takeovers.push(...shown)
  }
  const verdict = await judge(stage, {
    scenario: 'node killed (-9) in mid-answer',
    recoveries: takeovers,
    notes: ({ brokenOff }) =>
      `${brokenOff} broken off in mid-answer, after ${Math.min(...words)} to ${Math.max(...words)} words`,
  })
  expect(verdict.brokenOff).toBeGreaterThanOrEqual(BROKEN_OFF)
  expect(verdict.outcomes.interrupted).toBe(interrupted)
  expect(quantile(takeovers, 1)).toBeLessThan(TAKEOVER_MS)
})
