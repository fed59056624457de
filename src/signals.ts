import type { Logger } from 'pino'

/** What an operator does to a server by signals. */
export interface Signalled {
  /** SIGTERM, SIGINT: goes away politely. */
  readonly stop: () => Promise<void>
  /** The second of these: ends at once. */
  readonly abort: () => void
  /** SIGHUP; undefined where there is nothing to reload. */
  readonly reload: (() => void) | undefined
}

/** Does what signals ask for; ends the process when it has stopped. */
export function obeySignals({ stop, abort, reload }: Signalled, logger: Logger): void {
  let isStopping = false
  const onStop = (signal: NodeJS.Signals) => {
    if (isStopping) {
      // The second signal of an impatient operator, whichever it is.
      abort()
      process.exit(1)
    }
    isStopping = true
    logger.info({ signal }, 'stopping')
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.fatal({ err: error }, 'the stop failed')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', onStop)
  process.on('SIGINT', onStop)
  process.on('SIGHUP', (signal) => {
    // On a terminal it says that the terminal is gone.
    if (process.stdout.isTTY) onStop(signal)
    else if (reload !== undefined) reload()
    else logger.warn({ signal }, 'one process alone cannot be reloaded; it goes on')
  })
}
