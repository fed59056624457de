import type { ClientFrame } from '../protocol/client-frame.ts'
import type { Position } from '../protocol/position.ts'
import type { TurnDisplay } from './chat-state.ts'

/** Who a connection acts for, and who waits in line for the model. */
export interface Principal {
  /** Scope of the ids of writing frames. All anonymous users are one. */
  readonly id: string
}

/** A channel's view of a connection. */
export interface Member {
  readonly client_id: string
  readonly principal: Principal
  /** Whose turns its turns are, for fairness: what `fairKeyOf` makes of the principal, or of the address of an anonymous one. */
  readonly fairKey: string
  /** A frame of the log, to a member that is live. */
  deliver(offset: number, text: string): void
  /** Something without offset; may be dropped. */
  signal(text: string): void
  /** The answer to something that this member asked; never dropped. */
  answer(text: string): void
  /** The same, by a frame of the log: not told before the member has got all that stands before it. SPEC.md G13. */
  acknowledge(position: Position, text: string): void
  turnIs(display: TurnDisplay): void
  /** The log is another incarnation: the member must read it anew. */
  logIsReset(): void
  /** The channel cannot go on for this member, because of an error. */
  fail(error: unknown): void
}

/** A client frame that appends to the log. */
export type WritingFrame = Extract<
  ClientFrame,
  { type: 'user_message' | 'regenerate' | 'conversation_start' | 'conversation_end' | 'message' }
>

/** Who writes a client's frames that carry an id. */
export function producerOf(member: Member): string {
  return `client:${member.principal.id}`
}
