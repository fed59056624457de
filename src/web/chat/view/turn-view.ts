import { type Answer, isRunning, type TurnItem } from '../../../client/conversation.ts'
import { type AnswerView, createAnswerView } from './answer-view.ts'
import { copyButton } from './copy.ts'
import { button, el } from './dom.ts'

/** What a person can do with a turn. */
export interface TurnActions {
  stop(turnId: string): void
  regenerate(): void
}

/** Where a turn stands among the others. */
export interface TurnPlace {
  /** Whether its answer can be given anew. */
  readonly canRegenerate: boolean
  /** Whether another turn has to end before its own begins. */
  readonly isBehind: boolean
}

/** One turn in the thread. */
export interface TurnView {
  readonly element: HTMLElement
  /** Shows the turn; answers whether there is more to show in the next frame. */
  update(item: TurnItem, place: TurnPlace): boolean
}

/** A view for one question and its answer, or its answers one after the other. */
export function createTurnView(actions: TurnActions, calm: boolean): TurnView {
  const element = el('article', { class: 'turn' })
  const question = el('div', { class: 'question' })
  const waiting = el('p', { class: 'note waiting' })
  const note = el('p', { class: 'note' })
  const noteText = el('span')
  const noteAction = button({ label: 'Regenerate', text: 'Regenerate', icon: 'refresh' }, actions.regenerate)
  note.append(noteText, noteAction)
  const tools = el('div', { class: 'tools', role: 'group', 'aria-label': 'Answer' })
  let now: TurnItem | undefined
  let answerView: { turnId: string; view: AnswerView } | undefined

  const copy = copyButton('Copy answer', () => now?.answer?.text ?? '')
  const again = button({ label: 'Regenerate', icon: 'refresh' }, actions.regenerate)
  tools.append(copy, again)
  const end = el('div', { class: 'turn-end' }, note, tools)
  element.append(question, waiting, end)
  const waitingText = el('span')
  waiting.append(
    waitingText,
    button({ label: 'Take this message back', text: 'Cancel' }, () => {
      if (now !== undefined) actions.stop(now.turnId)
    }),
  )

  function showAnswer(answer: Answer | undefined): boolean {
    if (answer === undefined) {
      answerView?.view.element.remove()
      answerView = undefined
      return false
    }
    if (answerView?.turnId !== answer.turnId) {
      const view = createAnswerView(calm)
      answerView?.view.element.remove()
      end.before(view.element)
      answerView = { turnId: answer.turnId, view }
    }
    return answerView.view.update(answer)
  }

  return {
    element,
    update(item, { canRegenerate, isBehind }) {
      now = item
      question.hidden = item.question === undefined
      if (question.textContent !== (item.question ?? '')) question.textContent = item.question ?? ''
      waiting.hidden = item.place === undefined && !isBehind
      // Behind another turn, the place in line is this chat's own, which the thread shows.
      waitingText.textContent =
        isBehind || item.place === undefined
          ? 'Waits for the answer above.'
          : `Waits for the model: number ${item.place} in line.`
      const more = showAnswer(item.answer)
      const sentence = more ? undefined : outcomeSentence(item)
      note.hidden = sentence === undefined
      note.classList.toggle('failed', item.answer?.outcome === 'failed')
      noteText.textContent = sentence ?? ''
      noteAction.hidden = !canRegenerate
      copy.hidden = (item.answer?.text ?? '') === ''
      // Where a note offers it in words, the icon would say it twice.
      again.hidden = !canRegenerate || sentence !== undefined
      tools.hidden = more || isRunning(item) || (copy.hidden && again.hidden)
      end.hidden = note.hidden && tools.hidden
      element.classList.toggle('last', canRegenerate)
      return more
    },
  }
}

/** How a turn ended, in plain words; undefined where the answer speaks for itself. */
export function outcomeSentence(item: TurnItem): string | undefined {
  const { answer } = item
  switch (answer?.outcome) {
    case undefined:
      return undefined
    case 'stopped':
      return answer.text === '' ? 'Stopped before an answer came.' : 'Stopped.'
    case 'failed':
      return (
        answer.error?.content ?? (answer.text === '' ? 'There was no answer.' : 'The answer broke off before its end.')
      )
    case 'interrupted':
      return 'The answer was interrupted.'
    case 'completed':
      return answer.text === '' ? 'The model had nothing to say.' : undefined
  }
}
