import type { Clock } from '../actor/clock.ts'
import type { Coordination } from '../coordination/coordination.ts'
import type { ChannelLog } from '../log/channel-log.ts'

/** What every channel is made of. */
export interface ChannelParts {
  readonly log: ChannelLog
  readonly coordination: Coordination
  readonly clock: Clock
}

/** How much is read from the log at once. */
export const PAGE = { records: 512, bytes: 32 * 1024 }
