import type { RedisClient } from '../log/redis-clients.ts'
import { failure, type RedisClock, untilDeadline } from '../log/redis-deadline.ts'
import { type RedisScript, runScript, type ScriptArguments } from '../log/redis-script.ts'

/** Asks Redis to run scripts. Both settle within the time, and reject with an Error in plain words. */
export interface RedisAsk {
  /** Tries again within the time, so that a short failure is not seen. For what may be done twice. */
  again(script: RedisScript, keys: readonly string[], args: ScriptArguments): Promise<unknown>
  once(script: RedisScript, keys: readonly string[], args: ScriptArguments): Promise<unknown>
}

/** `client` fails at once where there is no connection. */
export function createAsk(client: RedisClient, clock: RedisClock, timeoutMs: number): RedisAsk {
  async function inTime(attempt: () => Promise<unknown>): Promise<unknown> {
    try {
      return await untilDeadline(clock, clock.now() + timeoutMs, attempt)
    } catch (error) {
      throw new Error(error instanceof Error ? error.message : 'Redis failed')
    }
  }
  return {
    again: (script, keys, args) => inTime(() => runScript(client, script, keys, args)),
    once: (script, keys, args) =>
      inTime(() =>
        runScript(client, script, keys, args).catch((error: unknown) => {
          throw failure('Redis failed', error)
        }),
      ),
  }
}
