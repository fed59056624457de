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
      const reason = reasonOf(error)
      const names = namesOf.get(reason)
      if (names === undefined) logger.error({ err: error, [label]: name }, failed)
      namesOf.set(reason, (names ?? new Set()).add(name))
    },
    worked: (name) => end(name, (reason) => logger.info({ reason }, worksAgain)),
    forget: (name) => end(name, () => {}),
    names: () => new Set([...namesOf.values()].flatMap((names) => [...names])),
  }
}

/** What is tried only when somebody asks for it, by many at once: told when it begins to fail, and when it is over. */
export interface Outages {
  /** Says so, unless the same reason stands already; `where` says for whom. */
  failed(error: unknown, where: Readonly<Record<string, string>>): void
  /** Says so where a reason stood, and nothing has failed for it for a while. */
  worked(): void
}

/** What works meanwhile, such as by another Redis of a Cluster, does not end an outage before that, in ms. */
const QUIET_MS = 10_000

/** See {@link Outages}. The clock is in ms; `failed` and `worksAgain` are the two lines of the log. */
export function createOutages(logger: Logger, clock: { now(): number }, failed: string, worksAgain: string): Outages {
  /** When something failed for it last, by reason. */
  const failedAt = new Map<string, number>()
  return {
    failed(error, where) {
      const reason = reasonOf(error)
      if (!failedAt.has(reason)) logger.error({ err: error, ...where }, failed)
      failedAt.set(reason, clock.now())
    },
    worked() {
      // Asked with each frame that is written.
      if (failedAt.size === 0) return
      for (const [reason, at] of failedAt) {
        if (clock.now() - at < QUIET_MS) continue
        failedAt.delete(reason)
        logger.info({ reason }, worksAgain)
      }
    },
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
