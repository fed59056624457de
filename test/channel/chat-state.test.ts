import { expect, test } from 'vitest'
import { apply, createChatState, displayOf, firstOpen, historyOf } from '../../src/channel/chat-state.ts'
import type { Entry, Outcome } from '../../src/protocol/entry.ts'

const KEEP = 100

function stateOf(...entries: Entry[]) {
  const state = createChatState()
  for (const entry of entries) apply(state, entry, KEEP)
  return state
}

const asked = (turn_id: string, content = turn_id, conversation_id = 'c'): Entry => ({
  type: 'user_message',
  turn_id,
  content,
  client_id: 'x',
  conversation_id,
})
const typing = (turn_id: string, regenerates?: string): Entry => ({
  type: 'typing',
  turn_id,
  ...(regenerates !== undefined && { regenerates }),
})
const said = (
  turn_id: string,
  content: string,
  type: 'ai_stream_chunk' | 'ai_reasoning_chunk' = 'ai_stream_chunk',
): Entry => ({
  type,
  turn_id,
  content,
  metadata: { index: 0 },
})
const over = (turn_id: string, outcome: Outcome = 'completed'): Entry => ({
  type: 'ai_stream_end',
  turn_id,
  outcome,
  finish_reason: null,
  usage: null,
  content: '',
  metadata: { total_words: 0 },
})
const contents = (state: ReturnType<typeof stateOf>, limit = KEEP) =>
  historyOf(state, limit).map(({ role, content }) => `${role}: ${content}`)

test('C2 the display goes from queued to typing to streaming to idle', () => {
  const entries = [asked('t'), typing('t'), said('t', 'hm', 'ai_reasoning_chunk'), said('t', 'a'), over('t')]
  const displays = entries.map((_, at) => displayOf(stateOf(...entries.slice(0, at + 1))))
  expect(displays).toEqual(['queued', 'typing', 'streaming', 'streaming', 'idle'])
})

test('C5 the first open turn is the one that runs; one that is stopped while it waits is passed over', () => {
  const state = stateOf(asked('a'), asked('b'), asked('c'), over('b', 'stopped'))
  expect([...state.open.keys()]).toEqual(['a', 'c'])
  expect(firstOpen(state)?.turn_id).toBe('a')
  apply(state, over('a'), KEEP)
  expect(firstOpen(state)?.turn_id).toBe('c')
})

test('G11 answers stand behind their messages, whenever they came; an open one is not there yet', () => {
  const state = stateOf(asked('a'), asked('b'), said('a', 'answer a'), over('a'), said('b', 'so far'))
  expect(contents(state)).toEqual(['user: a', 'assistant: answer a', 'user: b'])
  expect(contents(state, 2)).toEqual(['assistant: answer a', 'user: b'])
})

test('C8 a regenerated answer takes the place of the old one, at once', () => {
  const entries = [asked('a'), said('a', 'old'), over('a'), typing('r', 'a')]
  expect(contents(stateOf(...entries))).toEqual(['user: a'])
  expect(contents(stateOf(...entries, said('r', 'new'), over('r')))).toEqual(['user: a', 'assistant: new'])
  const twice = [...entries, over('r', 'stopped'), typing('s', 'r'), said('s', 'newest'), over('s')]
  expect(contents(stateOf(...twice))).toEqual(['user: a', 'assistant: newest'])
})

test('C9 a conversation begins empty, by its start, by a message of another, or after an end', () => {
  const state = stateOf(asked('a', 'a', 'one'), over('a'))
  apply(state, { type: 'conversation_start', conversation_id: 'two', client_id: 'x' }, KEEP)
  expect([state.conversation_id, contents(state)]).toEqual(['two', []])
  apply(state, { type: 'conversation_end', conversation_id: 'two', client_id: 'x' }, KEEP)
  expect([state.conversation_id, contents(state)]).toEqual([undefined, []])
  apply(state, asked('b', 'b', 'three'), KEEP)
  expect([state.conversation_id, contents(state)]).toEqual(['three', ['user: b']])
  expect([...state.conversations]).toEqual(['one', 'two', 'three'])
})

test('G7 a folded turn reads like its chunks', () => {
  const chunks = stateOf(asked('a'), typing('a'), said('a', 'hm', 'ai_reasoning_chunk'), said('a', 'answer'), over('a'))
  const folded = stateOf(
    asked('a'),
    typing('a'),
    { type: 'ai_message', turn_id: 'a', content: 'answer', reasoning: 'hm' },
    over('a'),
  )
  expect(contents(folded)).toEqual(contents(chunks))
  expect(displayOf(folded)).toBe('idle')
})

test('C14 attempts, runs and the wish to stop are remembered while the turn is open', () => {
  const attempt = (attempt: number, run: number): Entry => ({ type: 'attempt', turn_id: 'a', attempt, run })
  const state = stateOf(asked('a'), attempt(1, 1), attempt(2, 1), attempt(1, 2), { type: 'stop', turn_id: 'a' })
  expect(firstOpen(state)).toMatchObject({ run: 2, isStopWanted: true })
})

test('C11 as many exchanges are kept as asked for, beside those that are open', () => {
  const state = createChatState()
  for (let at = 0; at < 50; at++) for (const entry of [asked(`t${at}`), over(`t${at}`)]) apply(state, entry, 3)
  expect(state.exchanges.length).toBeLessThanOrEqual(4)
  expect(state.exchanges.at(-1)?.turn_id).toBe('t49')
  for (let at = 0; at < 5; at++) apply(state, asked(`open${at}`), 3)
  expect(state.exchanges.filter(({ turn_id }) => turn_id.startsWith('open'))).toHaveLength(5)
})

test('what belongs to a turn that is not open changes nothing', () => {
  const state = stateOf(asked('a'), said('a', 'answer'), over('a'))
  const before = historyOf(state, KEEP)
  for (const entry of [said('a', 'more'), over('a', 'failed'), typing('a'), said('nobody', 'x')])
    apply(state, entry, KEEP)
  expect(historyOf(state, KEEP)).toEqual(before)
  expect(state.open.size).toBe(0)
})

test('Q4 whose turn it is stands in the log; of entries from before that it is not known', () => {
  const state = stateOf({ ...asked('t1'), fair_key: 'abc' } as Entry, asked('t2'), over('t1'), over('t2'))
  apply(state, { ...typing('t3', 't2'), fair_key: 'def' } as Entry, KEEP)
  expect(firstOpen(state)?.fairKey).toBe('def')
  const keys = [...stateOf({ ...asked('t1'), fair_key: 'abc' } as Entry, asked('t2')).open.values()]
  expect(keys.map(({ fairKey }) => fairKey)).toEqual(['abc', undefined])
})
