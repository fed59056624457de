import type { Logger } from 'pino'
import type { Clock } from '../actor/clock.ts'
import type { Config } from '../config.ts'
import type { Coordination } from './coordination.ts'
import { createLocalCoordination } from './local-coordination.ts'
import { openRedisCoordination } from './redis-coordination.ts'

/** The coordination that the configuration names. Rejects in one sentence where Redis does not answer. */
export async function openConfiguredCoordination(
  { REDIS_URL: url }: Pick<Config, 'REDIS_URL'>,
  clock: Clock,
  logger: Logger,
): Promise<Coordination> {
  return url === undefined ? createLocalCoordination(clock) : await openRedisCoordination({ url, clock, logger })
}
