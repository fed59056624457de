import type { Clock } from '../actor/clock.ts'
import type { Coordination } from '../coordination/coordination.ts'
import type { ChannelLog, ReadLimit } from '../log/channel-log.ts'

/** What every channel is made of. */
export interface ChannelParts {
  readonly log: ChannelLog
  readonly coordination: Coordination
  readonly clock: Clock
}

/** How much is read from the log at once for one member, who may be slow. */
export const PAGE: ReadLimit = { records: 512, bytes: 32 * 1024 }
/** How much where a whole log is read: large messages do not take a way to the store each. */
export const LOAD_PAGE: ReadLimit = { records: 512, bytes: 256 * 1024 }
