import { el } from './dom.ts'

const SHOWN_MS = 5000

/** Short notes that go away by themselves. */
export interface Toasts {
  readonly element: HTMLElement
  show(sentence: string): void
}

/** Each sentence stands once, however often it is said. */
export function createToasts(): Toasts {
  const element = el('div', { class: 'toasts', role: 'status' })
  return {
    element,
    show(sentence) {
      for (const old of element.children) if (old.textContent === sentence) old.remove()
      const toast = el('div', { class: 'toast' }, sentence)
      element.append(toast)
      window.setTimeout(() => toast.remove(), SHOWN_MS)
    },
  }
}
