import type { ModelMessage } from '../model/chat-model.ts'
import type { ChatState } from './chat-state.ts'

/** What the model is asked for a turn: the conversation up to its user message, after the system prompt. SPEC.md C11. */
export function contextOf(state: ChatState, turn_id: string, systemPrompt: string, limit: number): ModelMessage[] {
  const messages: ModelMessage[] = []
  for (const { user, answer } of state.exchanges) {
    messages.push({ role: 'user', content: user.content })
    if (answer.turn_id === turn_id) break
    if (answer.text !== '') messages.push({ role: 'assistant', content: answer.text })
  }
  const recent = messages.slice(-limit)
  return systemPrompt === '' ? recent : [{ role: 'system', content: systemPrompt }, ...recent]
}
