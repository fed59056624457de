import type { Clock } from '../actor/clock.ts'
import type { Config } from '../config.ts'
import type { ChannelLog } from './channel-log.ts'
import { createMemoryLog } from './memory-log.ts'
import { openRedisLog } from './redis-log.ts'
import { openSqliteLog } from './sqlite-log.ts'

const SECOND_MS = 1_000

/** The log that the configuration names. Rejects with LogError, in one sentence, where it cannot be opened. */
export async function openConfiguredLog(config: Config, clock: Clock): Promise<ChannelLog> {
  const { REDIS_URL: url, REDIS_WAIT_REPLICAS: waitReplicas, SESSION_TTL_S, STORE, DATA_DIR } = config
  if (url !== undefined) return openRedisLog({ url, waitReplicas, ttlMs: SESSION_TTL_S * SECOND_MS, clock })
  return STORE === 'memory' ? createMemoryLog() : openSqliteLog({ dataDir: DATA_DIR })
}
