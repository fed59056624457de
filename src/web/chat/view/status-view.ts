import type { Status } from '../status.ts'
import { button, el } from './dom.ts'

/** The badge in the header, and the line above the composer for what a person has to know. */
export interface StatusView {
  readonly badge: HTMLElement
  readonly line: HTMLElement
  update(status: Status): void
}

/** `onReconnect` is called when a person does not want to wait. */
export function createStatusView(onReconnect: () => void): StatusView {
  const states = el('span', { class: 'states' })
  const plain = el('span', { class: 'off-screen' })
  const badge = el('div', { class: 'badge', tabindex: 0 }, el('i', { class: 'lamp' }), states, plain)
  const sentence = el('span')
  const again = button({ label: 'Reconnect now', text: 'Reconnect now' }, onReconnect)
  const line = el('div', { class: 'status-line', hidden: true }, sentence, again)

  return {
    badge,
    line,
    update(status) {
      badge.dataset.tone = status.tone
      badge.dataset.states = status.states.join(' ')
      badge.title = status.sentence
      states.replaceChildren(...status.states.map((state) => el('span', {}, state)))
      plain.textContent = status.sentence
      line.hidden = !status.prominent
      line.dataset.tone = status.tone
      sentence.textContent = status.sentence
      again.hidden = !status.canReconnect
    },
  }
}
