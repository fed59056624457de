import type { Logger } from 'pino'
import type { Clock } from '../actor/clock.ts'
import { createOutages, type Outages } from '../failing.ts'
import { LogUnreachable } from '../log/channel-log.ts'
import type { Connection } from './connection.ts'

/**
 * The log could not be read for a connection, which is closed. Told once where the log cannot be reached, which is so for
 * everybody; else by `line` for each.
 */
export function unread(connection: Connection, error: unknown, line: string): void {
  const { logger, reading } = connection.options
  const where = { connection_id: connection.client_id }
  if (error instanceof LogUnreachable) reading.failed(error, where)
  else logger.error({ err: error, ...where }, line)
  connection.fail(error)
}

/** What all connections tell together of a log that cannot be reached. */
export function createReading(logger: Logger, clock: Clock): Outages {
  return createOutages(logger, clock, 'connections are closed: the log cannot be reached', 'the log is read again')
}
