import type { TurnItem } from '../../../client/conversation.ts'
import type { ChatView } from '../chat.ts'
import { el } from './dom.ts'
import { outcomeSentence } from './turn-view.ts'

/** Tells a screen reader what happened: an answer once it is whole, a connection once it is lost or back. */
export interface Announcer {
  readonly element: HTMLElement
  /** To be called when all that has come is drawn; `textOf` gives a turn's answer as it is shown. */
  update(view: ChatView, textOf: (turnId: string) => string): void
}

/** Reading every token aloud would be noise, so that the thread itself is silent and this speaks for it. */
export function createAnnouncer(): Announcer {
  const element = el('div', { class: 'off-screen', role: 'status', 'aria-live': 'polite' })
  let running: string | undefined
  let link = 'open'

  function ended(view: ChatView, turnId: string): TurnItem | undefined {
    const item = view.conversation.items.find((each) => each.kind === 'turn' && each.answer?.turnId === turnId)
    return item?.kind === 'turn' && item.answer?.outcome !== undefined ? item : undefined
  }

  return {
    element,
    update(view, textOf) {
      const before = running === undefined ? undefined : ended(view, running)
      if (before !== undefined) {
        element.textContent = `${textOf(before.turnId)} ${outcomeSentence(before) ?? ''}`.trim()
        running = undefined
      }
      for (const item of view.conversation.items) {
        if (item.kind !== 'turn' || item.answer === undefined || item.answer.outcome !== undefined) continue
        if (running !== item.answer.turnId) element.textContent = 'The model is answering.'
        running = item.answer.turnId
      }
      const { at } = view.link
      const now = at === 'open' || at === 'connecting' || at === 'accepting' ? at : 'closed'
      if (now === 'closed' && link === 'open') element.textContent = 'The connection is lost.'
      if (now === 'open' && link === 'closed') element.textContent = 'Connected again.'
      if (now === 'open' || now === 'closed') link = now
    },
  }
}
