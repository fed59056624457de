import type { Logger } from 'pino'
import type { Clock } from './actor/clock.ts'
import type { Channels } from './channel/channels.ts'
import { runningChats } from './channel/running-chats.ts'
import type { Config } from './config.ts'
import type { Coordination } from './coordination/coordination.ts'
import { createFailing, type Failing } from './failing.ts'
import { atOnce } from './log/at-once.ts'
import type { ChannelLog, OnPartFailed } from './log/channel-log.ts'

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
  const folding = createFailing(logger, 'part', 'old turns could not be folded', 'old turns are folded again')
  const forgetting = createFailing(
    logger,
    'part',
    'old channels could not be forgotten',
    'old channels are forgotten again',
  )
  const before = (seconds: number) => Date.now() - seconds * SECOND_MS
  return every(clock, SWEEP_INTERVAL_MS, async () => {
    await tried(folding, (onFailed) => log.fold(before(config.RESUME_WINDOW_S), onFailed))
    await tried(forgetting, (onFailed) => log.expire(before(config.SESSION_TTL_S), channels.keys(), onFailed))
  })
}

/** Tells what fails of some work, part by part, once each, and what does no longer. Rejects where it fails as a whole. */
async function tellingParts<T>(failing: Failing, work: (onFailed: OnPartFailed) => Promise<T>): Promise<T> {
  const failed = new Set<string>()
  const done = await work((part, error) => {
    failed.add(part)
    failing.failed(part, error)
  })
  for (const part of failing.names()) if (!failed.has(part)) failing.worked(part)
  return done
}

/** The same, told too where it fails as a whole. */
async function tried(failing: Failing, work: (onFailed: OnPartFailed) => Promise<unknown>): Promise<void> {
  try {
    await tellingParts(failing, work)
  } catch (error) {
    failing.failed('all', error)
  }
}

/** How often turns are looked for whose process has died, in ms; a lease of three seconds is added to it. */
export const TAKE_UP_INTERVAL_MS = 1_000

/** How many of them are taken up at once. */
const AT_ONCE = 32

/** See {@link takeUpUnfinished}. What failed before, and is not told again. */
interface TakingUp {
  readonly looking: Failing
  readonly reading: Failing
}

/**
 * Turns that a dead process left: their channels are read, which ends them or runs them again. SPEC.md C14. Channels that
 * are open here look after their own. Rejects where nothing could be looked for.
 */
export async function takeUpUnfinished(options: UpkeepOptions, before = createTakingUp(options.logger)): Promise<void> {
  const { logger, log, channels, coordination } = options
  const { looking, reading } = before
  const running = Array.from(runningChats(channels), ({ key }) => key)
  const unfinished = new Set(await tellingParts(looking, (onFailed) => log.unfinished(onFailed, running)))
  const failing = reading.names()
  for (const key of failing) if (!unfinished.has(key)) reading.forget(key)
  await atOnce(AT_ONCE, unfinished, async (key) => {
    try {
      if (channels.find(key) !== undefined || (await coordination.isHeld(`turn:${key}`))) {
        reading.forget(key)
        return
      }
      if (!failing.has(key)) logger.info({ channel: key }, 'taking up an unfinished turn')
      channels.releaseIfIdle(await channels.open(key, false, () => {}))
      reading.worked(key)
    } catch (error) {
      reading.failed(key, error)
    }
  })
}

function createTakingUp(logger: Logger): TakingUp {
  return {
    looking: createFailing(
      logger,
      'part',
      'unfinished turns could not be looked for',
      'unfinished turns are looked for again',
    ),
    reading: createFailing(
      logger,
      'channel',
      'a channel with an unfinished turn could not be read',
      'channels with an unfinished turn can be read again',
    ),
  }
}

/** Does so again and again where other processes share the log, until the function that it answers is called. */
export function keepTakingUp(options: UpkeepOptions): () => void {
  const before = createTakingUp(options.logger)
  return every(options.clock, TAKE_UP_INTERVAL_MS, () =>
    takeUpUnfinished(options, before).catch((error: unknown) => before.looking.failed('all', error)),
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
