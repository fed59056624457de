import type { Chatter } from './chatter.ts'

/** Silences that are no more than a few words and the pause between two turns take are not noticed. */
const NOTICED_MS = 400
/** What begins later after a fault is not its doing. */
const LATEST_MS = 15_000

/**
 * The longest silence of each member that each fault met or that began between it and the next, however long it lasted, from
 * the fault on: chats say something all the time, until their last turn has ended. Of those only who noticed.
 */
export function silencesAfter(faults: readonly number[], chatters: readonly Chatter[]): number[] {
  const silences: number[] = []
  for (const [at, begin] of faults.entries()) {
    const end = Math.min(faults[at + 1] ?? Number.POSITIVE_INFINITY, begin + LATEST_MS)
    for (const { moments } of chatters) {
      const after = moments.filter((moment) => moment > begin)
      const isLater = after.findIndex((moment) => moment > end)
      const within = [begin, ...(isLater < 0 ? after : after.slice(0, isLater + 1))]
      const longest = Math.max(0, ...within.slice(1).map((moment, n) => moment - (within[n] ?? moment)))
      if (longest >= NOTICED_MS) silences.push(longest)
    }
  }
  return silences
}

/** From a moment on, how long until each member had been shown the end of the turn of his chat that was running then. */
export function endsAfter(begin: number, turns: ReadonlySet<string>, chatters: readonly Chatter[]): number[] {
  return chatters.flatMap(({ ends }) =>
    [...turns].flatMap((turn) => {
      const end = ends.get(turn)
      return end === undefined || end < begin ? [] : [end - begin]
    }),
  )
}
