import type { Logger } from 'pino'
import type { Clock } from './actor/clock.ts'
import type { Channel } from './channel/channel.ts'
import { type Channels, createChannels } from './channel/channels.ts'
import { ChatChannel } from './channel/chat-channel.ts'
import { RoomChannel } from './channel/room-channel.ts'
import type { Config } from './config.ts'
import type { Coordination } from './coordination/coordination.ts'
import { createFailing, createOutages } from './failing.ts'
import type { ChannelLog } from './log/channel-log.ts'
import type { ChatModel } from './model/chat-model.ts'
import type { Telemetry } from './telemetry.ts'
import { createTurnRunner } from './turn/run-turn.ts'

/** What the channels of a server are made of. */
export interface ChatsAndRoomsOptions {
  readonly config: Config
  readonly clock: Clock
  readonly logger: Logger
  readonly telemetry: Telemetry
  readonly log: ChannelLog
  readonly coordination: Coordination
  /** Answers on `/ai-chat`. */
  readonly model: ChatModel
  /** Answers on `/chat`. */
  readonly simulated: ChatModel
  readonly isDraining: () => boolean
  /** A channel has nothing under way any more. */
  readonly onIdle: () => void
}

/** The channels of all routes: which class and which model a key's route means is said here alone. */
export function createChatsAndRooms(options: ChatsAndRoomsOptions): Channels {
  const { config, clock, logger, log, coordination } = options
  // A queue per route: who talks to the simulated model must not take the real one's places.
  const createRunner = (route: 'ai-chat' | 'chat') => {
    const queue = coordination.queue(route, { concurrency: config.LLM_CONCURRENCY, limit: config.LLM_QUEUE })
    options.telemetry.queues.set(route, queue)
    return createTurnRunner({
      clock,
      queue,
      logger,
      maxAttempts: config.LLM_ATTEMPTS,
      backOffMs: config.LLM_BACKOFF_MS,
      maxAnswerBytes: config.MAX_ANSWER_BYTES,
    })
  }
  const shared = {
    log,
    logger,
    coordination,
    clock,
    writing: createOutages(logger, clock, 'a frame could not be written', 'frames are written again'),
    historyMessages: config.HISTORY_MESSAGES,
    onIdle(channel: Channel) {
      channels.releaseIfIdle(channel)
      options.onIdle()
    },
  }
  const chats = {
    ...shared,
    systemPrompt: config.SYSTEM_PROMPT,
    contextMessages: config.CONTEXT_MESSAGES,
    turnQueue: config.TURN_QUEUE,
    takingUp: createFailing(logger, 'channel', 'a turn could not be taken up', 'turns can be taken up again'),
    isDraining: options.isDraining,
  }
  const aiChats = { ...chats, runTurn: createRunner('ai-chat'), model: options.model, isHistoryDoubled: false }
  const simulatedChats = { ...chats, runTurn: createRunner('chat'), model: options.simulated, isHistoryDoubled: true }
  const presence = createOutages(logger, clock, 'presence could not be told', 'presence is told again')
  const rooms = { ...shared, presence }
  const channels = createChannels((key) => {
    if (key.startsWith('room/')) return new RoomChannel(rooms, key)
    return new ChatChannel(key.startsWith('chat/') ? simulatedChats : aiChats, key)
  })
  coordination.onPresence((room, member, change) => {
    const channel = channels.find(room)
    if (channel instanceof RoomChannel) channel.presenceChanged(member, change)
  })
  coordination.onRefilled((room, members) => {
    const channel = channels.find(room)
    if (channel instanceof RoomChannel) channel.presenceRefilled(members)
  })
  return channels
}
