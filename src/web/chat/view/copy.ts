import { button, el, icon } from './dom.ts'

const SHOWN_MS = 1600

/** Puts text on the clipboard; answers whether it got there. `navigator.clipboard` is missing on plain http. */
export async function copyText(text: string): Promise<boolean> {
  if (navigator.clipboard !== undefined) {
    try {
      await navigator.clipboard.writeText(text)
      return true
    } catch {
      // Refused by the browser's permissions: the old way below may still be allowed.
    }
  }
  const carrier = el('textarea', { class: 'off-screen', 'aria-hidden': 'true' })
  carrier.value = text
  document.body.append(carrier)
  const focused = document.activeElement
  carrier.select()
  const copied = document.execCommand('copy')
  carrier.remove()
  if (focused instanceof HTMLElement) focused.focus()
  return copied
}

/** A button that copies what `text` gives when it is pressed, and says so by a tick. */
export function copyButton(label: string, text: () => string): HTMLButtonElement {
  let back: number | undefined
  const element = button({ label, icon: 'copy' }, async () => {
    const copied = await copyText(text())
    element.replaceChildren(icon(copied ? 'check' : 'close'))
    element.setAttribute('aria-label', copied ? 'Copied' : 'Could not be copied')
    window.clearTimeout(back)
    back = window.setTimeout(() => {
      element.replaceChildren(icon('copy'))
      element.setAttribute('aria-label', label)
    }, SHOWN_MS)
  })
  return element
}
