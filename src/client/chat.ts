import type { Position } from '../protocol/position.ts'
import type { Link } from './connection.ts'
import type { Item, RoomMessage, TurnState } from './conversation.ts'
import type { FrameOf, FrameType, Limits } from './frames.ts'
import type { Draft } from './outbox.ts'
import type { Turn } from './turn.ts'

/** What can be listened to: every frame by its type, but for those that only repeat what is known, and what the client itself has to tell. */
export type ChatEvents = { [T in FrameType]: FrameOf<T> } & {
  /** The connection has gone from one state to another. */
  state: Link
  /** Something that the chat shows is not what it was: time to draw. */
  change: undefined
}

/** How something is asked for. */
export interface AskOptions {
  /** The frame's `id`, at most 64 characters: the same as before for what may have been sent before. By default a random one. */
  readonly id?: string
}

/** How a turn is asked for. */
export interface TurnOptions extends AskOptions {
  /** Whether leaving the iteration early stops the turn. By default it goes on, as it does when a tab closes. */
  readonly stopOnBreak?: boolean
}

/** One channel of a server, as long as it is wanted: connections come and go, and this object stays. */
export interface Chat {
  /** Where the connection is, in a word; `link` says more. */
  readonly state: Link['at']
  readonly link: Link
  /** The channel's name, once the server has told it. */
  readonly channel: string | undefined
  readonly limits: Limits | undefined
  /** How far the log is known here: for `connect`, from whoever keeps what he has shown. */
  readonly position: Position | undefined
  /** What was said in a chat, the answer that is being written included; another array whenever it has changed. */
  readonly history: readonly Item[]
  /** What was said in a room. */
  readonly messages: readonly RoomMessage[]
  /** What the channel's turns are doing, whoever asked for them. */
  readonly turn: TurnState
  /** What the server has not acknowledged yet: kept over reconnects, and sent again under the same ids. */
  readonly outbox: readonly Draft[]
  /** Whether the server has said that it goes away. What is sent waits for the next one. */
  readonly isDraining: boolean
  /** Until when nothing goes out because it was too much, in ms as `performance.now()` counts them. */
  readonly limitedUntil: number | undefined

  /** Listens; answers what ends it. */
  on<T extends keyof ChatEvents>(type: T, listener: (event: ChatEvents[T]) => void): () => void

  /** Says something in a chat, now or as soon as there is a connection. */
  send(content: string, options?: TurnOptions): Turn
  /** Asks for a new answer to the chat's last message. */
  regenerate(options?: TurnOptions): Turn
  /** Ends a turn, by default the one that runs. What cannot be told now is told when the connection is back. */
  stop(turnId?: string): void
  /** Says something in a room. This and the next two resolve when the server has it, and reject with ChatError. */
  message(content: string, options?: AskOptions): Promise<void>
  /** Gives the model an empty context. */
  startConversation(options?: AskOptions & { readonly conversationId?: string }): Promise<void>
  endConversation(options?: AskOptions): Promise<void>
  /** Tells the other members that somebody is at the keyboard here. */
  typing(): void

  /** The network may be back, or the device woke up: no further waiting. In browsers this happens by itself. */
  wake(): void
  /** The network is gone: no attempts until `wake`. In browsers this happens by itself. */
  offline(): void
  /** Connects at once; also after the server has ended the connection for good, and then what is in `outbox` goes out. */
  reconnect(): void
  /** Ends the connection for good. What has not come to its end rejects as `closed`. */
  close(): void
}
