import { button, el } from './dom.ts'

/** What the composer does with what is typed. */
export interface ComposerActions {
  /** Answers how many bytes are too many; 0 when it was taken. */
  send(content: string): number
  stop(): void
}

/** The box that messages are written in. */
export interface Composer {
  readonly element: HTMLElement
  focus(): void
  /** Puts words into the box, for the person to send or change. */
  fill(text: string): void
  /** `active`: a turn runs or waits. `canStop`: the server can be told. */
  update(active: boolean, canStop: boolean): void
}

/** Enter sends, Shift+Enter breaks the line; an Enter that ends an input method's composition does neither. */
export function createComposer(actions: ComposerActions): Composer {
  const input = el('textarea', {
    id: 'message',
    rows: 1,
    placeholder: 'Write a message…',
    'aria-label': 'Message',
    'aria-describedby': 'composer-note',
    autocomplete: 'off',
    enterkeyhint: 'send',
  })
  const send = button({ label: 'Send', icon: 'arrowUp', class: 'round-button send' }, submit)
  const stop = button({ label: 'Stop the answer (Esc)', icon: 'stop', class: 'round-button stop' }, () => {
    actions.stop()
    input.focus()
  })
  const note = el('p', { id: 'composer-note', class: 'composer-note', role: 'status' })
  const box = el('div', { class: 'composer-box' }, input, el('div', { class: 'composer-buttons' }, stop, send))
  const element = el('div', { class: 'composer' }, box, note)

  function grow(): void {
    send.disabled = input.value.trim() === ''
    // Elsewhere the style sheet does it by `field-sizing`.
    if (CSS.supports('field-sizing', 'content')) return
    input.style.height = 'auto'
    if (input.value !== '') input.style.height = `${input.scrollHeight}px`
  }

  function submit(): void {
    if (input.value.trim() === '') return
    const excess = actions.send(input.value.trim())
    if (excess > 0) {
      note.textContent = `This message is too long. Please shorten it by about ${excess.toLocaleString()} characters.`
      input.focus()
      return
    }
    input.value = ''
    note.textContent = ''
    grow()
    input.focus()
  }

  input.addEventListener('input', () => {
    note.textContent = ''
    grow()
  })
  input.addEventListener('keydown', (event) => {
    // Some browsers report the Enter that ends a composition as key code 229 only.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return
    event.preventDefault()
    submit()
  })
  // A tap beside the text is meant for it.
  box.addEventListener('click', (event) => {
    if (event.target === box) input.focus()
  })
  grow()

  return {
    element,
    focus() {
      // On a touch screen this would bring up the keyboard before anyone asked for it.
      if (window.matchMedia('(pointer: fine)').matches) input.focus({ preventScroll: true })
    },
    fill(text) {
      input.value = text
      grow()
      input.focus()
    },
    update(active, canStop) {
      stop.hidden = !active
      stop.disabled = !canStop
    },
  }
}
