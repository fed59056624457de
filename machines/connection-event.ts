import type { ClientFrame } from '../src/protocol/client-frame.ts'
import type { CloseName } from '../src/protocol/close-codes.ts'

/** What a connection's actor is told. A client's frame is an event as it is; the others are edges of what lies around it. */
export type ConnectionEvent =
  | Exclude<ClientFrame, { type: 'ping' | 'pong' }>
  /** Admitted, and a member of its channel. */
  | { type: 'connection.joined' }
  /** Somebody else decided to close: admission, authorization, the server's stop, a breach of the protocol. */
  | { type: 'connection.close'; close: CloseName }
  /** A sign of life came after a ping. */
  | { type: 'socket.heard' }
  /** More is buffered than a flowing reader may have. */
  | { type: 'socket.congested' }
  /** Nothing is buffered any more. */
  | { type: 'socket.drained' }
  | { type: 'socket.closed' }
  /** The channel's turn, as its head shows it. */
  | { type: 'turn.idle' }
  | { type: 'turn.queued' }
  | { type: 'turn.typing' }
  | { type: 'turn.streaming' }
  /** A frame came that the token bucket does not cover. `id` is that frame's. */
  | { type: 'rate.exceeded'; id: string | undefined }
  /** The reader's offset is the head. */
  | { type: 'flow.caughtUp' }
  /** The channel's log is another incarnation now. */
  | { type: 'log.reset' }
  | { type: 'server.draining' }
