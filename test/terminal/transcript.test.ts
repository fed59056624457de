import { expect, test } from 'vitest'
import type { Item } from '../../src/client/index.ts'
import { createTranscript } from '../../src/terminal/transcript.ts'

function written() {
  let text = ''
  const typed = new Set<string>()
  const transcript = createTranscript({
    write: (part) => {
      text += part
    },
    isTyped: (id) => typed.has(id),
    question: (question) => question,
    note: (note) => note,
  })
  return { typed, show: (...items: Item[]) => transcript.update(items), text: () => text }
}

type Turn = Extract<Item, { kind: 'turn' }>
const turn = (turnId: string, text?: string, outcome?: 'completed' | 'stopped'): Turn => ({
  kind: 'turn',
  turnId,
  question: `${turnId}?`,
  id: turnId,
  waiting: text === undefined,
  ...(text !== undefined && { answer: { turnId, text, reasoning: '', outcome } }),
})

test('an answer is written as it comes, each word once, whatever it is shown of in between', () => {
  const { show, text } = written()
  show(turn('a'))
  show(turn('a', 'one'))
  show(turn('a', 'one two'))
  show()
  show(turn('a', 'one'))
  show(turn('a', 'one two three', 'completed'))
  show(turn('a', 'one two three', 'completed'))
  expect(text()).toBe('> a?\none two three\n\n')
})

test('a question that waits stands below the whole answer before it', () => {
  const { show, text } = written()
  show(turn('a', 'one'), turn('b'))
  show(turn('a', 'one two', 'stopped'), turn('b'))
  show(turn('a', 'one two', 'stopped'), turn('b', 'three', 'completed'))
  expect(text()).toBe('> a?\none two\n[The answer was stopped.]\n\n> b?\nthree\n\n')
})

test('what was typed here is not written again, and another answer is', () => {
  const { show, text, typed } = written()
  typed.add('a')
  show(turn('a', 'one', 'completed'))
  show({ ...turn('a'), answer: { turnId: 'b', text: 'two', reasoning: '', outcome: 'completed' } })
  show({ kind: 'divider', key: 'k', edge: 'start' })
  expect(text()).toBe('one\n\ntwo\n\n[A new conversation]\n\n')
})

test('nothing in a text can command the terminal', () => {
  const { show, text } = written()
  show(turn('a', '\u001b]0;title\u0007\u009b2Jfine\r\n\tyes', 'completed'))
  expect(text()).toBe('> a?\n]0;title2Jfine\n\tyes\n\n')
})
