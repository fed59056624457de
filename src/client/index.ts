/**
 * What a page, a bot or a terminal imports from `statewire/client`: one function, and the types of what it answers. It
 * needs nothing but a global WebSocket, so browsers and Node.js 22.
 */
export type { AskOptions, Chat, ChatEvents, TurnOptions } from './chat.ts'
export { ChatError } from './chat-error.ts'
export { type ConnectOptions, connect } from './connect.ts'
export type { Link } from './connection.ts'
export type { Answer, DividerItem, Item, RoomMessage, TurnItem, TurnState } from './conversation.ts'
export type {
  Failure,
  FrameOf,
  FrameType,
  HistoryMessage,
  Limits,
  Outcome,
  ServerFrame,
  Usage,
} from './frames.ts'
export type { Draft } from './outbox.ts'
export type { Ended, Turn } from './turn.ts'
