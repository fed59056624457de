import { expect } from 'vitest'
import { checkRun } from './check-run.ts'
import type { Verdict } from './evidence.ts'
import { silencesAfter } from './recovery.ts'
import { keep, report, type Scenario } from './report.ts'
import type { Stage } from './stage.ts'

/** See {@link judge}. */
export interface JudgeOptions {
  readonly scenario: Scenario
  /** In ms; by default the silences that followed the faults. */
  readonly recoveries?: readonly number[]
  readonly mayLose?: boolean
  /** How many faults there were in the end, and how many answers they struck; by default those of the stage. */
  readonly struck?: () => { readonly faults: number; readonly midAnswer: number }
  readonly notes?: (verdict: Verdict) => string
}

/** Lets the conversations come to their end, checks all that was seen, and tells it as a row. Throws where something is wrong. */
export async function judge({ chats, faults }: Stage, options: JudgeOptions): Promise<Verdict> {
  const { scenario, mayLose = false, notes } = options
  await chats.finish()
  const evidence = await chats.evidence(mayLose)
  const verdict = checkRun(evidence)
  if (verdict.lost.length + verdict.twice.length + verdict.wrongOwner.length > 0) keep(scenario, { verdict, evidence })
  const outcomes = Object.entries(verdict.outcomes).map(([outcome, count]) => `${count} ${outcome}`)
  const told = mayLose ? [`${verdict.told} shown things went with an epoch, told`] : []
  const moments = faults.map(({ at }) => at)
  const midAnswer = faults.reduce((sum, fault) => sum + fault.midAnswer, 0)
  const struck = options.struck?.() ?? { faults: faults.length, midAnswer }
  // Nothing is proven by a chat that said nothing, and by a fault that struck nothing.
  for (const { channel, records } of evidence.logs) expect(records.length, channel).toBeGreaterThan(0)
  expect(struck.midAnswer).toBeGreaterThanOrEqual(Math.max(1, faults.length))
  report({
    scenario,
    streams: verdict.turns,
    ...struck,
    connections: chats.chatters.reduce((sum, { counts }) => sum + counts.connections, 0),
    verdict,
    recoveries: options.recoveries ?? silencesAfter(moments, chats.chatters),
    notes: [...outcomes, ...told, ...(notes === undefined ? [] : [notes(verdict)])].join(', '),
  })
  return verdict
}
