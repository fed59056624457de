import type { Entry } from '../protocol/entry.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import type { ChatState } from './chat-state.ts'
import type { Member, WritingFrame } from './member.ts'
import { newId } from './new-id.ts'

/** What a writing frame would append to a chat (and the turn that it opens), or why it may not. */
export type Plan = { readonly entry: Entry; readonly turn_id?: string } | { readonly refused: ErrorCode }

/** Judges a member's frame by the log as it stands. `turnQueue` turns may wait behind the running one. SPEC.md C5, C8 to C10. */
export function planFrame(
  frame: WritingFrame,
  state: ChatState,
  { client_id, fairKey: fair_key }: Pick<Member, 'client_id' | 'fairKey'>,
  turnQueue: number,
): Plan {
  const id = frame.id === undefined ? {} : { id: frame.id }
  switch (frame.type) {
    case 'user_message': {
      if (state.open.size > turnQueue) return { refused: 'busy' }
      const asked = frame.conversation_id
      if (asked !== undefined && asked !== state.conversation_id) {
        const mayBegin = state.conversation_id === undefined && !state.conversations.has(asked)
        if (!mayBegin) return { refused: 'conversation_mismatch' }
      }
      const conversation_id = state.conversation_id ?? asked ?? newId()
      const turn_id = newId()
      const { content } = frame
      return { entry: { type: 'user_message', turn_id, content, ...id, client_id, conversation_id, fair_key }, turn_id }
    }
    case 'regenerate': {
      if (state.open.size > 0) return { refused: 'busy' }
      const last = state.exchanges.at(-1)
      if (last === undefined) return { refused: 'nothing_to_regenerate' }
      const turn_id = newId()
      return { entry: { type: 'typing', turn_id, regenerates: last.answer.turn_id, ...id, fair_key }, turn_id }
    }
    case 'conversation_start': {
      if (state.open.size > 0) return { refused: 'busy' }
      const conversation_id = frame.conversation_id ?? newId()
      if (state.conversations.has(conversation_id)) return { refused: 'conversation_exists' }
      return { entry: { type: 'conversation_start', conversation_id, ...id, client_id } }
    }
    case 'conversation_end': {
      if (state.open.size > 0) return { refused: 'busy' }
      const conversation_id = frame.conversation_id ?? state.conversation_id
      const isCurrent = conversation_id !== undefined && conversation_id === state.conversation_id
      if (!isCurrent) return { refused: 'conversation_mismatch' }
      return { entry: { type: 'conversation_end', conversation_id, ...id, client_id } }
    }
    case 'message':
      return { refused: 'illegal' }
  }
}
