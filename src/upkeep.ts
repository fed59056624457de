import type { Logger } from 'pino'
import type { Clock } from './actor/clock.ts'
import type { Channels } from './channel/channels.ts'
import type { Config } from './config.ts'
import type { Coordination } from './coordination/coordination.ts'
import { createFailing, type Failing } from './failing.ts'
import type { ChannelLog } from './log/channel-log.ts'

/** What is done to the channels beside what their members ask. */
export interface UpkeepOptions {
  readonly config: Pick<Config, 'RESUME_WINDOW_S' | 'SESSION_TTL_S'>
  readonly clock: Clock
  readonly logger: Logger
  readonly log: ChannelLog
  readonly channels: Channels
  readonly coordination: Coordination
}

/** How often old turns are folded and old channels forgotten, in ms. */
export const SWEEP_INTERVAL_MS = 60_000
const SECOND_MS = 1_000

/** Folds and forgets what is old enough, again and again, until the function that it answers is called. SPEC.md G7, G15. */
export function keepSweeping({ config, clock, logger, log, channels }: UpkeepOptions): () => void {
  const failing = createFailing(
    logger,
    'work',
    'old channels could not be folded or forgotten',
    'old channels are folded and forgotten again',
  )
  const sweep = async () => {
    await log.fold(Date.now() - config.RESUME_WINDOW_S * SECOND_MS)
    await log.expire(Date.now() - config.SESSION_TTL_S * SECOND_MS, channels.keys())
  }
  return every(clock, SWEEP_INTERVAL_MS, () =>
    sweep().then(
      () => failing.worked('sweep'),
      (error: unknown) => failing.failed('sweep', error),
    ),
  )
}

/** How often turns are looked for whose process has died, in ms; a lease of three seconds is added to it. */
export const TAKE_UP_INTERVAL_MS = 1_000

/**
 * Turns that a dead process left: their channels are read, which ends them or runs them again. SPEC.md C14. Channels that
 * are open here look after their own.
 */
export async function takeUpUnfinished(
  { logger, log, channels, coordination }: UpkeepOptions,
  unread: Failing = createUnread(logger),
): Promise<void> {
  const unfinished = new Set(await log.unfinished())
  const failing = unread.names()
  for (const key of failing) if (!unfinished.has(key)) unread.forget(key)
  for (const key of unfinished) {
    try {
      if (channels.find(key) !== undefined || (await coordination.isHeld(`turn:${key}`))) {
        unread.forget(key)
        continue
      }
      if (!failing.has(key)) logger.info({ channel: key }, 'taking up an unfinished turn')
      channels.releaseIfIdle(await channels.open(key, false, () => {}))
      unread.worked(key)
    } catch (error) {
      unread.failed(key, error)
    }
  }
}

function createUnread(logger: Logger): Failing {
  return createFailing(
    logger,
    'channel',
    'a channel with an unfinished turn could not be read',
    'channels with an unfinished turn can be read again',
  )
}

/** Does so again and again where other processes share the log, until the function that it answers is called. */
export function keepTakingUp(options: UpkeepOptions): () => void {
  const { clock, logger } = options
  const unread = createUnread(logger)
  const failing = createFailing(
    logger,
    'work',
    'unfinished turns could not be looked for',
    'unfinished turns are looked for again',
  )
  return every(clock, TAKE_UP_INTERVAL_MS, () =>
    takeUpUnfinished(options, unread).then(
      () => failing.worked('take up'),
      (error: unknown) => failing.failed('take up', error),
    ),
  )
}

/** Does something again and again, each time so long after the last has ended. Answers the function that ends it. */
function every(clock: Clock, pauseMs: number, work: () => Promise<void>): () => void {
  let hasEnded = false
  const again = () =>
    clock.setTimeout(() => {
      void work().finally(() => {
        if (!hasEnded) timer = again()
      })
    }, pauseMs)
  let timer = again()
  return () => {
    hasEnded = true
    // A timer that is left would keep the process alive for as long as it has to go.
    clock.clearTimeout(timer)
  }
}
