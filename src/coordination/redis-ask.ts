import type { RedisClient } from '../log/redis-clients.ts'
import { failure, type RedisClock, realClock, untilDeadline } from '../log/redis-deadline.ts'
import type { Reach } from '../log/redis-reach.ts'
import { type RedisScript, runScript, type ScriptArguments } from '../log/redis-script.ts'

/**
 * Asks Redis to run scripts. Both settle within the time, and reject with an Error in plain words; a timed script does
 * nothing after that.
 */
export interface RedisAsk {
  /** Tries again within the time, so that a short failure is not seen. For what may be done twice. */
  again(script: RedisScript, keys: readonly string[], args: ScriptArguments): Promise<unknown>
  once(script: RedisScript, keys: readonly string[], args: ScriptArguments): Promise<unknown>
}

/** See {@link createAsk}. */
export interface RedisAskOptions {
  /** Fails at once where there is no connection. */
  readonly client: RedisClient
  readonly clock: RedisClock
  readonly reach: Pick<Reach, 'notAfter'>
  readonly timeoutMs: number
}

/** Makes the way to a Redis that all parts of a coordination share. */
export function createAsk({ client, clock, reach, timeoutMs }: RedisAskOptions): RedisAsk {
  async function inTime(attempt: (run: RedisAsk['once']) => Promise<unknown>): Promise<unknown> {
    const deadline = realClock.now() + timeoutMs
    const run: RedisAsk['once'] = (script, keys, args) =>
      runScript(client, script, keys, args, reach.notAfter(keys[0] ?? '', deadline - realClock.now()))
    try {
      return await untilDeadline(clock, clock.now() + timeoutMs, () => attempt(run))
    } catch (error) {
      throw new Error(error instanceof Error ? error.message : 'Redis failed')
    }
  }
  return {
    again: (...asked) => inTime((run) => run(...asked)),
    once: (...asked) =>
      inTime((run) =>
        run(...asked).catch((error: unknown) => {
          throw failure('Redis failed', error)
        }),
      ),
  }
}
