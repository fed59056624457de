import type { Chatter } from './chatter.ts'

/** Silences that are no more than a few words take are not noticed. */
const NOTICED_MS = 400

/**
 * From each fault on, the longest silence of each member whose chat's turn was running then: until it went on, or was ended.
 * Of those only who noticed.
 */
export function silencesAfter(faults: readonly number[], chatters: readonly Chatter[]): number[] {
  const silences: number[] = []
  for (const [at, begin] of faults.entries()) {
    const next = faults[at + 1] ?? Number.POSITIVE_INFINITY
    for (const { deliveries } of chatters) {
      for (const times of deliveries.values()) {
        const [first = 0, last = 0] = [times[0], times.at(-1)]
        if (first > begin || last < begin) continue
        const moments = [begin, ...times.filter((time) => time > begin && time < Math.max(next, begin + NOTICED_MS))]
        const after = times.find((time) => time > (moments.at(-1) ?? 0))
        if (moments.length === 1 && after !== undefined) moments.push(after)
        const longest = Math.max(0, ...moments.slice(1).map((time, n) => time - (moments[n] ?? time)))
        if (longest >= NOTICED_MS) silences.push(longest)
      }
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
