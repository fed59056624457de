import { loadConfig } from '../../src/config.ts'
import { INTERRUPT_DEADLINE_MS } from '../../src/server.ts'

/** How long a server with some settings may take from SIGTERM to its end, in ms. */
export function longestStopMs(env: Readonly<Record<string, string>>): number {
  const { DRAIN_MS, CLOSE_DEADLINE_MS } = loadConfig(env)
  return DRAIN_MS + INTERRUPT_DEADLINE_MS + CLOSE_DEADLINE_MS
}
