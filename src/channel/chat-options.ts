import type { Logger } from 'pino'
import type { Failing, Outages } from '../failing.ts'
import type { ChatModel } from '../model/chat-model.ts'
import type { RunTurn } from '../turn/turn.ts'
import type { Channel } from './channel.ts'
import type { ChannelParts } from './channel-parts.ts'

/** What all chats of one route share. */
export interface ChatOptions extends ChannelParts {
  readonly logger: Logger
  readonly model: ChatModel
  readonly runTurn: RunTurn
  /** Turns that cannot be taken up, by channel: of all chats together, as they often fail together. */
  readonly takingUp: Failing
  /** Frames that could not be written, of all channels together. */
  readonly writing: Outages
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
