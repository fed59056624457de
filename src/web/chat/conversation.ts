import type { Outcome } from '../../protocol/entry.ts'
import type { HistoryMessage } from '../../protocol/server-frame.ts'
import type { ChatFrame } from './read-frame.ts'

/** What the model said in one turn, so far. `outcome` is there once the turn has ended. */
export interface Answer {
  readonly turnId: string
  readonly text: string
  readonly reasoning: string
  readonly outcome?: Outcome
  /** Why it failed, in a sentence for people. */
  readonly failure?: string
}

/** A question and its answer. An old history may begin with an answer, so that `question` can be missing. */
export interface TurnItem {
  readonly kind: 'turn'
  readonly turnId: string
  readonly question?: string
  /** Whether the question came live and the model has not been asked yet. */
  readonly waiting: boolean
  /** The place among the waiting turns, from 1, where the server told it. SPEC.md C12. */
  readonly place?: number
  readonly answer?: Answer
}

/** Where the model's context begins afresh. */
export interface DividerItem {
  readonly kind: 'divider'
  readonly key: string
  readonly edge: 'start' | 'end'
}

/** What stands in the thread, from top to bottom. */
export type Item = TurnItem | DividerItem

/** All that the page knows of the channel's log. `epoch` and `offset` are its position; it holds nothing before a `welcome`. */
export interface Conversation {
  readonly epoch: string | undefined
  readonly offset: number
  readonly items: readonly Item[]
}

/** The `turn` region of the connection's chart, as far as a client sees it. */
export type TurnState = 'idle' | 'queued' | 'typing' | 'streaming'

/** A channel of which nothing is known yet. */
export const emptyConversation: Conversation = { epoch: undefined, offset: 0, items: [] }

/** What the page knows after one more frame. Pure: the same frames always give the same thread. SPEC.md G. */
export function applyFrame(conversation: Conversation, frame: ChatFrame): Conversation {
  if (frame.type === 'welcome') {
    const items = frame.offset === 0 ? [] : conversation.items
    return { epoch: frame.epoch, offset: frame.offset, items }
  }
  if (!('offset' in frame) || frame.offset === undefined) {
    return { ...conversation, items: applyToItems(conversation.items, frame) }
  }
  // G13: shown before, so that it only acknowledges.
  if (frame.offset <= conversation.offset) return conversation
  return { ...conversation, offset: frame.offset, items: applyToItems(conversation.items, frame) }
}

/** What the channel's turns are doing. */
export function turnState(conversation: Conversation): TurnState {
  const running = runningAnswer(conversation)
  if (running !== undefined) return running.text === '' && running.reasoning === '' ? 'typing' : 'streaming'
  return conversation.items.some((item) => item.kind === 'turn' && item.waiting) ? 'queued' : 'idle'
}

/** The answer that is being written, if one is. */
export function runningAnswer(conversation: Conversation): Answer | undefined {
  const running = conversation.items.find((item) => item.kind === 'turn' && isRunning(item))
  return running?.kind === 'turn' ? running.answer : undefined
}

/** Whether the item's answer is being written. */
export function isRunning(item: TurnItem): boolean {
  return item.answer !== undefined && item.answer.outcome === undefined
}

/** Whether the last turn can be answered anew: it has a question, has ended, and nothing waits. SPEC.md C8. */
export function canRegenerate(conversation: Conversation): boolean {
  const last = conversation.items.at(-1)
  return last?.kind === 'turn' && last.question !== undefined && turnState(conversation) === 'idle'
}

function applyToItems(items: readonly Item[], frame: ChatFrame): readonly Item[] {
  switch (frame.type) {
    case 'history':
      return frame.messages.reduce(addMessage, items)
    case 'user_message':
      return [...items, { kind: 'turn', turnId: frame.turn_id, question: frame.content, waiting: true }]
    case 'queued':
      return change(items, frame.turn_id, (item) => ({ ...item, place: frame.position }))
    case 'typing':
      return begin(items, frame.turn_id, frame.regenerates)
    case 'ai_stream_chunk':
      return changeAnswer(items, frame.turn_id, (answer) => ({ ...answer, text: answer.text + frame.content }))
    case 'ai_reasoning_chunk':
      return changeAnswer(items, frame.turn_id, (answer) => ({
        ...answer,
        reasoning: answer.reasoning + frame.content,
      }))
    case 'ai_message':
      return changeAnswer(items, frame.turn_id, (answer) => ({
        ...answer,
        text: frame.content,
        reasoning: frame.reasoning ?? '',
      }))
    case 'ai_stream_end':
      return changeAnswer(items, frame.turn_id, (answer) => ({
        ...answer,
        outcome: frame.outcome,
        ...(frame.failure === undefined ? {} : { failure: frame.failure }),
      }))
    case 'conversation_start':
      return divide(items, { kind: 'divider', key: `start ${frame.conversation_id}`, edge: 'start' })
    case 'conversation_end':
      return divide(items, { kind: 'divider', key: `end ${frame.conversation_id}`, edge: 'end' })
    default:
      return items
  }
}

function addMessage(items: readonly Item[], message: HistoryMessage): readonly Item[] {
  const turnId = message.turn_id ?? `history ${items.length}`
  if (message.role === 'user') {
    return [...items, { kind: 'turn', turnId, question: message.content, waiting: false }]
  }
  const failure = message.error === undefined ? {} : { failure: message.error.content }
  const outcome = message.outcome ?? 'completed'
  const answer: Answer = { turnId, text: message.content, reasoning: '', outcome, ...failure }
  if (items.some((item) => isOf(item, turnId))) return change(items, turnId, (item) => ({ ...item, answer }))
  // The answer of a regenerated turn has a turn id of its own, and stands right after its question.
  const last = items.at(-1)
  if (last?.kind === 'turn' && last.answer === undefined) return [...items.slice(0, -1), { ...last, answer }]
  return [...items, { kind: 'turn', turnId, waiting: false, answer }]
}

function begin(items: readonly Item[], turnId: string, regenerates: string | undefined): readonly Item[] {
  const answer: Answer = { turnId, text: '', reasoning: '' }
  const ask = (item: TurnItem): TurnItem => {
    const { place: _, ...rest } = item
    return { ...rest, waiting: false, answer }
  }
  if (items.some((item) => isOf(item, turnId))) return change(items, turnId, ask)
  if (regenerates !== undefined && items.some((item) => isOf(item, regenerates))) return change(items, regenerates, ask)
  // A history may not show the turn whose answer is replaced. It was the last one answered; those behind it wait.
  const index = items.findLastIndex((item) => item.kind === 'divider' || item.answer !== undefined) + 1
  const question = items[index]
  if (regenerates !== undefined && question?.kind === 'turn') return items.with(index, ask(question))
  return [...items, { kind: 'turn', turnId, waiting: false, answer }]
}

function divide(items: readonly Item[], divider: DividerItem): readonly Item[] {
  const last = items.at(-1)
  if (last === undefined) return items
  return last.kind === 'divider' ? [...items.slice(0, -1), divider] : [...items, divider]
}

function changeAnswer(items: readonly Item[], turnId: string, to: (answer: Answer) => Answer): readonly Item[] {
  return change(items, turnId, (item) => {
    const { place: _, ...rest } = item
    const answer = item.answer?.turnId === turnId ? item.answer : { turnId, text: '', reasoning: '' }
    return { ...rest, waiting: false, answer: to(answer) }
  })
}

function change(items: readonly Item[], turnId: string, to: (item: TurnItem) => TurnItem): readonly Item[] {
  // From the end, as nearly every frame is about the newest turns.
  const index = items.findLastIndex((item) => isOf(item, turnId))
  const item = items[index]
  return item?.kind === 'turn' ? items.with(index, to(item)) : items
}

function isOf(item: Item, turnId: string): boolean {
  return item.kind === 'turn' && (item.answer?.turnId === turnId || item.turnId === turnId)
}
