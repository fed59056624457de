import type { Answer } from '../../../client/conversation.ts'
import { el } from './dom.ts'
import { createMarkdownView } from './markdown-view.ts'
import { createPace } from './pace.ts'

/** A rendering that took longer than this, in ms, is followed by a pause, so that the page stays quick. */
const COSTLY_MS = 6
const PAUSE_FACTOR = 4

/** One answer: the reasoning, folded away, the text, and dots as long as there is none. */
export interface AnswerView {
  readonly element: HTMLElement
  /** Shows the answer; answers whether there is more to show in the next frame. */
  update(answer: Answer): boolean
}

/** A view for one answer from its first token to its last. */
export function createAnswerView(calm: boolean): AnswerView {
  const summary = el('summary')
  const thoughts = el('div', { class: 'thoughts' })
  const reasoning = el('details', { class: 'reasoning', hidden: true }, summary, thoughts)
  const dots = el(
    'div',
    { class: 'dots', role: 'img', 'aria-label': 'The model is thinking' },
    el('i'),
    el('i'),
    el('i'),
  )
  const text = createMarkdownView()
  const element = el('div', { class: 'answer' }, reasoning, text.element, dots)
  const pace = createPace(calm)
  let drawn: { text: string; ended: boolean } | undefined
  let notBefore = 0

  return {
    element,
    update(answer) {
      const ended = answer.outcome !== undefined
      const writing = answer.text !== ''
      reasoning.hidden = answer.reasoning === ''
      if (!reasoning.hidden) {
        summary.textContent = writing || ended ? 'Reasoning' : 'Thinking…'
        if (thoughts.textContent !== answer.reasoning) thoughts.textContent = answer.reasoning
      }
      dots.hidden = ended || writing
      const now = performance.now()
      if (now < notBefore && !ended) return true
      const shown = answer.text.slice(0, pace.next(answer.text, ended))
      const complete = ended && shown.length === answer.text.length
      element.classList.toggle('writing', writing && !complete)
      if (drawn?.text !== shown || drawn.ended !== complete) {
        drawn = { text: shown, ended: complete }
        text.update(shown, complete)
        const cost = performance.now() - now
        notBefore = cost > COSTLY_MS ? now + cost * PAUSE_FACTOR : 0
      }
      return shown.length < answer.text.length
    },
  }
}
