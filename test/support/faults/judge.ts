import { checkRun } from './check-run.ts'
import type { Conversations } from './conversations.ts'
import type { Verdict } from './evidence.ts'
import { silencesAfter } from './recovery.ts'
import { report } from './report.ts'

/** See {@link judge}. */
export interface JudgeOptions {
  readonly scenario: string
  /** When each fault came, in ms. */
  readonly faults: readonly number[]
  /** In ms; by default the silences that followed the faults. */
  readonly recoveries?: readonly number[]
  readonly mayLose?: boolean
  readonly notes?: (verdict: Verdict) => string
}

/** Lets the conversations come to their end, checks all that was seen, and tells it as a row. Throws where something is wrong. */
export async function judge(chats: Conversations, options: JudgeOptions): Promise<Verdict> {
  const { scenario, faults, mayLose = false, notes } = options
  await chats.finish()
  const verdict = checkRun(await chats.evidence(mayLose))
  const outcomes = Object.entries(verdict.outcomes).map(([outcome, count]) => `${count} ${outcome}`)
  const told = mayLose ? [`${verdict.told} shown things went with an epoch, told`] : []
  report({
    scenario,
    streams: verdict.turns,
    faults: faults.length,
    connections: chats.chatters.reduce((sum, { counts }) => sum + counts.connections, 0),
    verdict,
    recoveries: options.recoveries ?? silencesAfter(faults, chats.chatters),
    notes: [...outcomes, ...told, ...(notes === undefined ? [] : [notes(verdict)])].join(', '),
  })
  return verdict
}
