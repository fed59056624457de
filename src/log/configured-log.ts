import type { Clock } from '../actor/clock.ts'
import type { Config } from '../config.ts'
import type { ChannelLog } from './channel-log.ts'
import { createMemoryLog } from './memory-log.ts'

const SECOND_MS = 1_000

/** The log that the configuration names. Rejects with LogError, in one sentence, where it cannot be opened. */
export async function openConfiguredLog(config: Config, clock: Clock): Promise<ChannelLog> {
  const { REDIS_URL: url, REDIS_WAIT_REPLICAS: waitReplicas, SESSION_TTL_S, STORE, DATA_DIR } = config
  // Loaded where it is used alone: ioredis costs a start a fifth of a second of CPU.
  if (url !== undefined) {
    const { openRedisLog } = await import('./redis-log.ts')
    return openRedisLog({ url, waitReplicas, ttlMs: SESSION_TTL_S * SECOND_MS, clock })
  }
  if (STORE === 'memory') return createMemoryLog()
  const { openSqliteLog } = await import('./sqlite-log.ts')
  return openSqliteLog({ dataDir: DATA_DIR })
}
