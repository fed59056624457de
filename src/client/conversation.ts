import type { Failure, HistoryMessage, Outcome, ServerFrame, Usage } from './frames.ts'

/** How many items and messages are held; older ones are let go, so that a client may run for months. */
const MAX_HELD = 1000

/** What the model said in one turn, so far. `outcome` is there once the turn has ended. */
export interface Answer {
  readonly turnId: string
  readonly text: string
  readonly reasoning: string
  readonly outcome?: Outcome | undefined
  /** Why it failed. */
  readonly error?: Failure | undefined
  /** Both are told at a turn's end, and are not in a history. Null where the model did not tell. */
  readonly finishReason?: string | null
  readonly usage?: Usage | null
}

/** A question and its answer. An old history may begin with an answer, so that `question` can be missing. */
export interface TurnItem {
  readonly kind: 'turn'
  readonly turnId: string
  readonly question?: string
  /** The `id` under which the question was sent. */
  readonly id?: string | undefined
  /** Whether the question came live and the model has not been asked yet. */
  readonly waiting: boolean
  /** The place among the waiting turns, from 1, where the server told it. SPEC.md C12. */
  readonly place?: number | undefined
  readonly answer?: Answer
}

/** Where the model's context begins afresh. */
export interface DividerItem {
  readonly kind: 'divider'
  readonly key: string
  readonly edge: 'start' | 'end'
}

/** What stands in a chat, from top to bottom. */
export type Item = TurnItem | DividerItem

/** What somebody said in a room; `client_id` is the connection's. */
export type RoomMessage = Pick<HistoryMessage, 'content' | 'client_id' | 'id'>

/** All that a client knows of the channel's log. `epoch` and `offset` are its position; it holds nothing before a `welcome`. */
export interface Conversation {
  readonly epoch: string | undefined
  readonly offset: number
  /** Of a chat. */
  readonly items: readonly Item[]
  /** Of a room. */
  readonly messages: readonly RoomMessage[]
}

/** The `turn` region of the connection's chart, as far as a client sees it. */
export type TurnState = 'idle' | 'queued' | 'typing' | 'streaming'

/** A channel of which nothing is known yet. */
export const emptyConversation: Conversation = { epoch: undefined, offset: 0, items: [], messages: [] }

/** What is known after one more frame. Pure: the same frames always give the same conversation. SPEC.md G. */
export function applyFrame(conversation: Conversation, frame: ServerFrame): Conversation {
  if (frame.type === 'welcome') {
    const { epoch, offset } = frame
    return { ...(offset === 0 ? emptyConversation : conversation), epoch, offset }
  }
  if (isShown(conversation, frame)) return conversation
  return {
    ...conversation,
    offset: offsetOf(frame) ?? conversation.offset,
    items: keep(applyToItems(conversation.items, frame)),
    messages: keep(applyToMessages(conversation.messages, frame)),
  }
}

/** Whether the frame has been shown before, so that it only acknowledges. SPEC.md G13. */
export function isShown(conversation: Conversation, frame: ServerFrame): boolean {
  return (offsetOf(frame) ?? Number.POSITIVE_INFINITY) <= conversation.offset
}

/** The frame's place in the log, where it has one. (A `welcome` has it from elsewhere.) */
export function offsetOf(frame: ServerFrame): number | undefined {
  return 'offset' in frame && frame.type !== 'welcome' ? frame.offset : undefined
}

/** The item that shows a turn, as the question's turn or as the answer's. */
export function itemOf(items: readonly Item[], turnId: string): TurnItem | undefined {
  const item = items[indexOf(items, turnId)]
  return item?.kind === 'turn' ? item : undefined
}

/** What the channel's turns are doing. */
export function turnState(conversation: Pick<Conversation, 'items'>): TurnState {
  const running = runningAnswer(conversation)
  if (running !== undefined) return running.text === '' && running.reasoning === '' ? 'typing' : 'streaming'
  return conversation.items.some((item) => item.kind === 'turn' && item.waiting) ? 'queued' : 'idle'
}

/** The answer that is being written, if one is. */
export function runningAnswer(conversation: Pick<Conversation, 'items'>): Answer | undefined {
  const running = conversation.items.find((item) => item.kind === 'turn' && isRunning(item))
  return running?.kind === 'turn' ? running.answer : undefined
}

/** Whether the item's answer is being written. */
export function isRunning(item: TurnItem): boolean {
  return item.answer !== undefined && item.answer.outcome === undefined
}

/** Whether the last turn can be answered anew: it has a question, has ended, and nothing waits. SPEC.md C8. */
export function canRegenerate(conversation: Pick<Conversation, 'items'>): boolean {
  const last = conversation.items.at(-1)
  return last?.kind === 'turn' && last.question !== undefined && turnState(conversation) === 'idle'
}

function keep<T>(all: readonly T[]): readonly T[] {
  return all.length > MAX_HELD ? all.slice(-MAX_HELD) : all
}

function applyToMessages(messages: readonly RoomMessage[], frame: ServerFrame): readonly RoomMessage[] {
  if (frame.type === 'history') return [...messages, ...frame.messages.filter(isInRoom)]
  return frame.type === 'message' ? [...messages, frame] : messages
}

/** Only messages of a room tell whose they are. */
function isInRoom({ client_id }: HistoryMessage): boolean {
  return client_id !== undefined
}

function applyToItems(items: readonly Item[], frame: ServerFrame): readonly Item[] {
  switch (frame.type) {
    case 'history':
      return frame.messages.reduce(addMessage, items)
    case 'user_message':
      return [...items, question(frame.turn_id, frame, true)]
    case 'queued':
      return items.map((item) =>
        item.kind === 'turn' && item.turnId === frame.turn_id ? { ...item, place: frame.position } : item,
      )
    case 'typing':
      // Without a turn it is another member at the keyboard.
      return frame.turn_id === undefined ? items : begin(items, frame.turn_id, frame.regenerates)
    case 'ai_stream_chunk':
      return changeAnswer(items, frame.turn_id, ({ text }) => ({ text: text + frame.content }))
    case 'ai_reasoning_chunk':
      return changeAnswer(items, frame.turn_id, ({ reasoning }) => ({ reasoning: reasoning + frame.content }))
    case 'ai_message':
      return changeAnswer(items, frame.turn_id, () => ({ text: frame.content, reasoning: frame.reasoning ?? '' }))
    case 'ai_stream_end':
      return changeAnswer(items, frame.turn_id, () => ({
        outcome: frame.outcome,
        error: frame.error,
        finishReason: frame.finish_reason,
        usage: frame.usage,
      }))
    case 'conversation_start':
      return divide(items, { kind: 'divider', key: `start ${frame.conversation_id}`, edge: 'start' })
    case 'conversation_end':
      return divide(items, { kind: 'divider', key: `end ${frame.conversation_id}`, edge: 'end' })
    default:
      return items
  }
}

function question(turnId: string, message: { content: string; id?: string | undefined }, waiting: boolean): TurnItem {
  return { kind: 'turn', turnId, question: message.content, id: message.id, waiting }
}

function addMessage(items: readonly Item[], message: HistoryMessage): readonly Item[] {
  if (isInRoom(message)) return items
  const turnId = message.turn_id ?? `history ${items.length}`
  if (message.role === 'user') return [...items, question(turnId, message, false)]
  const { content: text, outcome = 'completed', error } = message
  let index = indexOf(items, turnId)
  // The answer of a regenerated turn has a turn id of its own, and stands right after its question.
  const last = items.at(-1)
  if (last?.kind === 'turn' && last.answer === undefined && index < 0) index = items.length - 1
  return setAnswer(items, index, { turnId, text, reasoning: '', outcome, error })
}

function begin(items: readonly Item[], turnId: string, regenerates: string | undefined): readonly Item[] {
  let index = indexOf(items, turnId)
  if (index < 0 && regenerates !== undefined) {
    index = indexOf(items, regenerates)
    // A history may not show the turn whose answer is replaced. It was the last one answered; those behind it wait.
    if (index < 0) index = items.findLastIndex((item) => item.kind === 'divider' || item.answer !== undefined) + 1
  }
  return setAnswer(items, index, { turnId, text: '', reasoning: '' })
}

function divide(items: readonly Item[], divider: DividerItem): readonly Item[] {
  const last = items.at(-1)
  if (last === undefined) return items
  return last.kind === 'divider' ? [...items.slice(0, -1), divider] : [...items, divider]
}

function changeAnswer(
  items: readonly Item[],
  turnId: string,
  to: (answer: Answer) => Partial<Answer>,
): readonly Item[] {
  const item = itemOf(items, turnId)
  if (item === undefined) return items
  const answer = item.answer?.turnId === turnId ? item.answer : { turnId, text: '', reasoning: '' }
  return setAnswer(items, indexOf(items, turnId), { ...answer, ...to(answer) })
}

/** With the answer below the question at `index`; alone at the end, where there is none. */
function setAnswer(items: readonly Item[], index: number, answer: Answer): readonly Item[] {
  const item = items[index]
  return item?.kind === 'turn'
    ? items.with(index, { ...item, place: undefined, waiting: false, answer })
    : [...items, { kind: 'turn', turnId: answer.turnId, waiting: false, answer }]
}

function indexOf(items: readonly Item[], turnId: string): number {
  // From the end, as nearly every frame is about the newest turns.
  return items.findLastIndex(
    (item) => item.kind === 'turn' && (item.answer?.turnId === turnId || item.turnId === turnId),
  )
}
