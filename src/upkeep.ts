import type { Logger } from 'pino'
import type { Clock } from './actor/clock.ts'
import type { Channels } from './channel/channels.ts'
import type { Config } from './config.ts'
import type { ChannelLog } from './log/channel-log.ts'

/** What is done to the channels beside what their members ask. */
export interface UpkeepOptions {
  readonly config: Pick<Config, 'RESUME_WINDOW_S' | 'SESSION_TTL_S'>
  readonly clock: Clock
  readonly logger: Logger
  readonly log: ChannelLog
  readonly channels: Channels
}

/** How often old turns are folded and old channels forgotten, in ms. */
export const SWEEP_INTERVAL_MS = 60_000
const SECOND_MS = 1_000

/** Folds and forgets what is old enough, again and again, until the function that it answers is called. SPEC.md G7, G15. */
export function keepSweeping({ config, clock, logger, log, channels }: UpkeepOptions): () => void {
  const sweep = async () => {
    await log.fold(Date.now() - config.RESUME_WINDOW_S * SECOND_MS)
    await log.expire(Date.now() - config.SESSION_TTL_S * SECOND_MS, channels.keys())
  }
  const again = () =>
    clock.setTimeout(() => {
      sweep()
        .catch((error: unknown) => logger.error({ err: error }, 'old channels could not be folded or forgotten'))
        .finally(() => {
          if (!hasEnded) timer = again()
        })
    }, SWEEP_INTERVAL_MS)
  let timer = again()
  let hasEnded = false
  return () => {
    hasEnded = true
    // A timer that is left would keep the process alive for as long as it has to go.
    clock.clearTimeout(timer)
  }
}

/** Turns that a dead process left: their channels are read, which ends them or runs them again. SPEC.md C14. */
export async function takeUpUnfinished({ logger, log, channels }: UpkeepOptions): Promise<void> {
  const keys = await log.unfinished()
  if (keys.length > 0) logger.info({ channels: keys.length }, 'taking up unfinished turns')
  for (const key of keys) {
    try {
      channels.releaseIfIdle(await channels.open(key, false, () => {}))
    } catch (error) {
      logger.error({ err: error, channel: key }, 'a channel with an unfinished turn could not be read')
    }
  }
}
