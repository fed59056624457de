import type { Chatter } from './chatter.ts'

/** Silences that are no more than a few words and the pause between two turns take are not noticed. */
const NOTICED_MS = 400
/** What is silent for longer is another fault's, or a chat's that has come to its end. */
const LONGEST_MS = 15_000

/** From each fault to the next, the longest silence of each member: chats say something all the time. Of those only who noticed. */
export function silencesAfter(faults: readonly number[], chatters: readonly Chatter[]): number[] {
  const silences: number[] = []
  for (const [at, begin] of faults.entries()) {
    const end = Math.min(faults[at + 1] ?? Number.POSITIVE_INFINITY, begin + LONGEST_MS)
    for (const { moments } of chatters) {
      const within = [begin, ...moments.filter((moment) => moment > begin && moment <= end)]
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
