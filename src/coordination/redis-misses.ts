import type { RedisClock } from '../log/redis-deadline.ts'

/** Tells a Redis that is away from one that answered late once. */
export interface RedisMisses {
  /** Asks it something; rejects as that does. */
  asked<T>(ask: () => Promise<T>): Promise<T>
  /** What failed so far says nothing any more. */
  forget(): void
}

/**
 * `onAway` is called where something failed, and something that was asked after that fails, too, with no answer between them.
 * It may be called again for what fails after that.
 */
export function createRedisMisses(clock: Pick<RedisClock, 'now'>, onAway: () => void): RedisMisses {
  /** When the first failed of what has failed in a row. */
  let missedAt: number | undefined

  function forget(): void {
    missedAt = undefined
  }

  return {
    async asked(ask) {
      const begin = clock.now()
      try {
        const answer = await ask()
        forget()
        return answer
      } catch (error) {
        if (missedAt === undefined) missedAt = clock.now()
        else if (begin >= missedAt) onAway()
        throw error
      }
    },
    forget,
  }
}
