import { expect, test } from 'vitest'
import { apply, createChatState, firstOpen } from '../../src/channel/chat-state.ts'
import { historyPages, PAGE_LENGTH, soFar, withOffset } from '../../src/channel/snapshot.ts'
import type { HistoryMessage } from '../../src/protocol/server-frame.ts'

const message = (length: number): HistoryMessage => ({ role: 'user', content: 'x'.repeat(length) })
const pagesOf = (lengths: number[], isDoubled = false) => [
  ...historyPages(
    lengths.map((length) => message(length)),
    'c',
    isDoubled,
  ),
]
const lengthsOf = (pages: ReturnType<typeof pagesOf>) =>
  pages.map(({ messages }) => messages.map(({ content }) => content.length))

test('G11 an empty history is one page without more', () => {
  expect(pagesOf([])).toEqual([{ type: 'history', conversation_id: 'c', messages: [] }])
})

test('G11 pages are filled up to their length, in order, and more is on all but the last', () => {
  const half = PAGE_LENGTH / 2
  const pages = pagesOf([half, half, 1, half, PAGE_LENGTH, 1])
  expect(lengthsOf(pages)).toEqual([[half, half], [1, half], [PAGE_LENGTH], [1]])
  expect(pages.map(({ more }) => more)).toEqual([true, true, true, undefined])
})

test('G11 a message that is longer than a page has one of its own', () => {
  expect(lengthsOf(pagesOf([1, 3 * PAGE_LENGTH, 1]))).toEqual([[1], [3 * PAGE_LENGTH], [1]])
})

test('G11 a doubled list costs its length twice, so pages are half as long', () => {
  const pages = pagesOf([PAGE_LENGTH / 2, PAGE_LENGTH / 2], true)
  expect(pages).toHaveLength(2)
  for (const { messages, content } of pages) expect(content).toEqual(messages)
})

test('G3 a running turn so far: typing, and long texts as several chunks, which join to them', () => {
  const state = createChatState()
  const [turn_id, metadata, text] = ['t', { index: 0 }, '🙂'.repeat(PAGE_LENGTH)]
  apply(state, { type: 'user_message', turn_id, content: 'hello', client_id: 'c', conversation_id: 'c' }, 10)
  apply(state, { type: 'typing', turn_id }, 10)
  apply(state, { type: 'ai_stream_chunk', turn_id, content: text, metadata }, 10)
  const turn = firstOpen(state)
  if (turn === undefined) throw new Error('the turn is not open')
  const frames = [...soFar(turn, turn.answer)]
  expect(frames.map(({ type }) => type)).toEqual(['typing', 'ai_stream_chunk', 'ai_stream_chunk'])
  expect(frames.map((frame) => ('content' in frame ? frame.content : '')).join('')).toBe(text)
})

test('G3 only the last frame gets the offset', () => {
  const frames = ['a', 'b'].map((content) => ({ type: 'echo', content }) as const)
  expect([...withOffset(frames, 7)].map((text) => JSON.parse(text))).toEqual([
    { type: 'echo', content: 'a' },
    { type: 'echo', content: 'b', offset: 7 },
  ])
  expect([...withOffset([], 7)]).toEqual([])
})
