import { type ChannelLog, LogError } from '../log/channel-log.ts'
import type { HistoryMessage } from '../protocol/server-frame.ts'
import { LOAD_PAGE } from './channel-parts.ts'
import { apply, createChatState, historyOf } from './chat-state.ts'

/** The last messages of an older conversation, read from its channel's log. SPEC.md G12. Rejects with LogError. */
export async function readConversation(
  log: ChannelLog,
  key: string,
  epoch: string,
  conversation_id: string,
  limit: number,
): Promise<HistoryMessage[]> {
  const state = createChatState()
  let history: HistoryMessage[] = []
  for (let offset = 0; ; ) {
    const page = await log.read(key, { epoch, offset }, LOAD_PAGE)
    if (!page.honoured) throw new LogError('failed', `the log of ${key} could not be read from its beginning`)
    for (const { entry } of page.records) {
      const wasCurrent = state.conversation_id === conversation_id
      const isLeaving = entry.type === 'conversation_start' || entry.type === 'conversation_end'
      if (wasCurrent && isLeaving) history = historyOf(state, limit)
      apply(state, entry, limit)
    }
    const last = page.records.at(-1)
    if (last === undefined) return state.conversation_id === conversation_id ? historyOf(state, limit) : history
    offset = last.offset
  }
}
