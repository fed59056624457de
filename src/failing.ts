import type { Logger } from 'pino'

/** What is tried again and again for one or several names, and may fail for a while: told when it begins, and when it is over. */
export interface Failing {
  /** Says so, unless the same reason stands for this name or another one already. */
  failed(name: string, error: unknown): void
  /** Says so where this was the last name for which a reason stood. */
  worked(name: string): void
  /** It is not tried for this name any more. */
  forget(name: string): void
  /** For what it fails now. */
  names(): ReadonlySet<string>
}

/** See {@link Failing}. `failed` and `worksAgain` are the two lines of the log; names are told as the field `label`. */
export function createFailing(logger: Logger, label: string, failed: string, worksAgain: string): Failing {
  /** For whom a reason stands: one that fails for several reasons in turn has them all until it works. */
  const namesOf = new Map<string, Set<string>>()

  function end(name: string, onOver: (reason: string) => void): void {
    for (const [reason, names] of namesOf) {
      if (!names.delete(name) || names.size > 0) continue
      namesOf.delete(reason)
      onOver(reason)
    }
  }

  return {
    failed(name, error) {
      const reason = error instanceof Error ? error.message : String(error)
      const names = namesOf.get(reason)
      if (names === undefined) logger.error({ err: error, [label]: name }, failed)
      namesOf.set(reason, (names ?? new Set()).add(name))
    },
    worked: (name) => end(name, (reason) => logger.info({ reason }, worksAgain)),
    forget: (name) => end(name, () => {}),
    names: () => new Set([...namesOf.values()].flatMap((names) => [...names])),
  }
}
