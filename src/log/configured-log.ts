import type { Config } from '../config.ts'
import type { ChannelLog } from './channel-log.ts'
import { createMemoryLog } from './memory-log.ts'
import { openSqliteLog } from './sqlite-log.ts'

/** The log that the configuration names. Rejects with LogError, in one sentence, where it cannot be opened. */
export async function openConfiguredLog({ STORE, DATA_DIR }: Pick<Config, 'STORE' | 'DATA_DIR'>): Promise<ChannelLog> {
  return STORE === 'memory' ? createMemoryLog() : await openSqliteLog({ dataDir: DATA_DIR })
}
