import { readFileSync, writeFileSync } from 'node:fs'
import type { Logger } from 'pino'

const SYSCTL = 'net.ipv4.tcp_migrate_req'
const FILE = '/proc/sys/net/ipv4/tcp_migrate_req'

/**
 * Has Linux hand the connections that a closing listener has not accepted yet to another listener of the port, where
 * this process may say so; it holds for its network namespace. Without it they are reset, a few at each reload.
 */
export function letConnectionsMigrate(logger: Logger): void {
  try {
    if (readFileSync(FILE, 'utf8').trim() !== '0') return
    writeFileSync(FILE, '1')
    logger.info({ sysctl: SYSCTL }, 'connections that a worker leaves unaccepted now go to another one')
  } catch (error) {
    logger.warn(
      { sysctl: SYSCTL, reason: error instanceof Error ? error.message : String(error) },
      `connections that a worker leaves unaccepted are reset; sysctl -w ${SYSCTL}=1 hands them to another one`,
    )
  }
}
