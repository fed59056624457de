import type { Logger } from 'pino'
import type { Clock } from '../actor/clock.ts'
import type { Config } from '../config.ts'
import type { Coordination } from './coordination.ts'
import { createLocalCoordination } from './local-coordination.ts'

/** The coordination that the configuration names. Rejects in one sentence where Redis does not answer. */
export async function openConfiguredCoordination(
  { REDIS_URL: url }: Pick<Config, 'REDIS_URL'>,
  clock: Clock,
  logger: Logger,
): Promise<Coordination> {
  if (url === undefined) return createLocalCoordination(clock)
  const { openRedisCoordination } = await import('./redis-coordination.ts')
  return openRedisCoordination({ url, clock, logger })
}
