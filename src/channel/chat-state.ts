import type { Entry, EntryOf, Outcome } from '../protocol/entry.ts'
import type { HistoryMessage } from '../protocol/server-frame.ts'

/** What one turn has said so far. */
export interface Answer {
  readonly turn_id: string
  text: string
  reasoning: string
  /** Chunks in the log, of both kinds; folded ones count as one. */
  chunks: number
  outcome: Outcome | undefined
  /** Why it failed, in plain words. */
  error: EntryOf<'ai_stream_end'>['error']
}

/** One message of the user and the answer that counts: the latest, where it was regenerated. */
export interface Exchange {
  readonly turn_id: string
  readonly user: { readonly content: string; readonly id: string | undefined }
  answer: Answer
}

/** A turn without a terminal entry. */
export interface OpenTurn {
  readonly turn_id: string
  /** The turn whose answer this one's replaces. */
  readonly regenerates: string | undefined
  /** Whose turn it is, for fairness; undefined in logs of versions that did not say it. */
  readonly fairKey: string | undefined
  readonly answer: Answer
  /** The model was asked: the log has its `typing`, or something that it said. */
  isAsked: boolean
  /** The process that took it up last, counted from 1; 0 before the first request. */
  run: number
  attempts: number
  isStopWanted: boolean
}

/** How the head of a chat's log looks: what a connection's `turn` region shows. */
export type TurnDisplay = 'idle' | 'queued' | 'typing' | 'streaming'

/**
 * A chat's log, folded: the only reading of its entries. It is built by `apply` in the log's order, live and at load
 * alike, so that it holds nothing that the log does not.
 */
export interface ChatState {
  /** The current conversation's id; undefined before the first and after an end. */
  conversation_id: string | undefined
  /** Every conversation id that this channel has seen. */
  readonly conversations: Set<string>
  /** The current conversation's last exchanges, in the order of their user messages. */
  exchanges: Exchange[]
  /** Turns without a terminal entry, in order; the first is the one that runs. */
  readonly open: Map<string, OpenTurn>
}

export function createChatState(): ChatState {
  return { conversation_id: undefined, conversations: new Set(), exchanges: [], open: new Map() }
}

/** Folds one entry into the state, which keeps at most `keep` exchanges beside those that are open. */
export function apply(state: ChatState, entry: Entry, keep: number): void {
  switch (entry.type) {
    case 'user_message': {
      if (state.conversation_id !== entry.conversation_id) begin(state, entry.conversation_id)
      const answer = createAnswer(entry.turn_id)
      state.exchanges.push({ turn_id: entry.turn_id, user: { content: entry.content, id: entry.id }, answer })
      state.open.set(entry.turn_id, createOpenTurn(answer, undefined, entry.fair_key))
      if (state.exchanges.length > keep + state.open.size)
        state.exchanges = state.exchanges.slice(-keep - state.open.size)
      return
    }
    case 'typing': {
      if (entry.regenerates !== undefined && !state.open.has(entry.turn_id)) {
        const answer = createAnswer(entry.turn_id)
        const exchange = state.exchanges.find(({ answer }) => answer.turn_id === entry.regenerates)
        if (exchange !== undefined) exchange.answer = answer
        state.open.set(entry.turn_id, createOpenTurn(answer, entry.regenerates, entry.fair_key))
      }
      const turn = state.open.get(entry.turn_id)
      if (turn !== undefined) turn.isAsked = true
      return
    }
    case 'attempt': {
      const turn = state.open.get(entry.turn_id)
      if (turn === undefined) return
      turn.run = entry.run
      turn.attempts = entry.attempt
      return
    }
    case 'stop': {
      const turn = state.open.get(entry.turn_id)
      if (turn !== undefined) turn.isStopWanted = true
      return
    }
    case 'ai_stream_chunk':
    case 'ai_reasoning_chunk': {
      const turn = state.open.get(entry.turn_id)
      if (turn === undefined) return
      // Where a failover lost its `typing` alone, this tells it.
      turn.isAsked = true
      const { answer } = turn
      answer.chunks++
      if (entry.type === 'ai_stream_chunk') answer.text += entry.content
      else answer.reasoning += entry.content
      return
    }
    case 'ai_message': {
      const answer = state.open.get(entry.turn_id)?.answer
      if (answer === undefined) return
      answer.chunks++
      answer.text = entry.content
      answer.reasoning = entry.reasoning ?? ''
      return
    }
    case 'ai_stream_end': {
      const turn = state.open.get(entry.turn_id)
      if (turn === undefined) return
      turn.answer.outcome = entry.outcome
      turn.answer.error = entry.error
      state.open.delete(entry.turn_id)
      return
    }
    case 'conversation_start':
      begin(state, entry.conversation_id)
      return
    case 'conversation_end':
      state.conversation_id = undefined
      state.exchanges = []
      return
    case 'message':
      return
    default:
      entry satisfies never
  }
}

/** The turn that runs, or would run next. */
export function firstOpen(state: ChatState): OpenTurn | undefined {
  return state.open.values().next().value
}

export function displayOf(state: ChatState): TurnDisplay {
  const turn = firstOpen(state)
  if (turn === undefined) return 'idle'
  if (turn.answer.chunks > 0) return 'streaming'
  return turn.isAsked ? 'typing' : 'queued'
}

/** The messages of the current conversation, without what an open turn has said so far (that follows as chunks). */
export function historyOf(state: ChatState, limit: number): HistoryMessage[] {
  const messages: HistoryMessage[] = []
  for (const { turn_id, user, answer } of state.exchanges) {
    messages.push({ role: 'user', content: user.content, ...(user.id !== undefined && { id: user.id }), turn_id })
    if (answer.outcome === undefined) continue
    const { text: content, turn_id: answeredBy, outcome, error } = answer
    messages.push({ role: 'assistant', content, turn_id: answeredBy, outcome, ...(error !== undefined && { error }) })
  }
  return messages.slice(-limit)
}

function begin(state: ChatState, conversation_id: string): void {
  state.conversation_id = conversation_id
  state.conversations.add(conversation_id)
  state.exchanges = []
}

function createAnswer(turn_id: string): Answer {
  return { turn_id, text: '', reasoning: '', chunks: 0, outcome: undefined, error: undefined }
}

function createOpenTurn(answer: Answer, regenerates: string | undefined, fairKey: string | undefined): OpenTurn {
  const nothingYet = { isAsked: false, run: 0, attempts: 0, isStopWanted: false }
  return { turn_id: answer.turn_id, regenerates, fairKey, answer, ...nothingYet }
}
