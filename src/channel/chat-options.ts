import type { Logger } from 'pino'
import type { Clock } from '../actor/clock.ts'
import type { Coordination } from '../coordination/coordination.ts'
import type { ChannelLog } from '../log/channel-log.ts'
import type { ChatModel } from '../model/chat-model.ts'
import type { RunTurn } from '../turn/turn.ts'
import type { Channel } from './channel.ts'

/** What all chats of one route share. */
export interface ChatOptions {
  readonly log: ChannelLog
  readonly logger: Logger
  readonly model: ChatModel
  readonly runTurn: RunTurn
  readonly coordination: Coordination
  readonly clock: Clock
  readonly systemPrompt: string
  readonly contextMessages: number
  readonly historyMessages: number
  /** Turns that may wait behind the running one. */
  readonly turnQueue: number
  /** `history` frames carry their list under `content`, too. */
  readonly isHistoryDoubled: boolean
  /** The server drains: no turn is begun. */
  readonly isDraining: () => boolean
  /** Nothing is under way any more; the channel may not be needed. */
  readonly onIdle: (channel: Channel) => void
}
