import type { PageDraft } from '../kept-drafts.ts'
import { button, el } from './dom.ts'

/** What a person can do with a message that the server has refused. */
export interface DraftActions {
  retry(id: string): void
  discard(id: string): void
}

/** A message that the server does not have yet; undefined for a wish that shows nothing of its own. */
export function createDraftView(draft: PageDraft, linked: boolean, actions: DraftActions): HTMLElement | undefined {
  if (draft.content === undefined) return undefined
  const question = el('div', { class: 'question' }, draft.content)
  if (draft.refused === undefined) {
    const sentence = linked ? 'Sending…' : 'Kept here. It is sent when the connection is back.'
    return el('article', { class: 'turn draft' }, question, el('p', { class: 'note aside' }, sentence))
  }
  const note = el(
    'p',
    { class: 'note aside failed' },
    el('span', {}, draft.refused),
    button({ label: 'Send again', text: 'Send again' }, () => actions.retry(draft.id)),
    button({ label: 'Discard', text: 'Discard' }, () => actions.discard(draft.id)),
  )
  return el('article', { class: 'turn draft refused' }, question, note)
}
