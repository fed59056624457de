import { button, el } from './dom.ts'

const SUGGESTIONS = [
  'Explain how a WebSocket stays alive',
  'Write a haiku about state machines',
  'Compare three ways to resume a stream',
] as const

/** What an empty chat shows: a greeting, and a few ways to begin. */
export function createWelcomeView(onSuggestion: (text: string) => void): HTMLElement {
  const suggestions = SUGGESTIONS.map((text) =>
    button({ label: text, text, class: 'suggestion' }, () => onSuggestion(text)),
  )
  return el(
    'section',
    { class: 'welcome' },
    el('img', {
      class: 'welcome-mark',
      src: new URL('../../mark.svg', import.meta.url).href,
      alt: '',
      width: 52,
      height: 52,
    }),
    el('h2', {}, 'What would you like to talk about?'),
    el('p', {}, 'Whoever has the link to this chat can read it and write in it.'),
    el('div', { class: 'suggestions' }, ...suggestions),
  )
}
