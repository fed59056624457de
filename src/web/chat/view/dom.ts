type Child = Node | string | undefined
type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

/** An element with attributes (`true` sets an empty one, `undefined` and `false` set none) and children. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : String(value))
  }
  element.append(...children.filter((child) => child !== undefined))
  return element
}

/** A button; with an icon alone its label is what is read out and shown as a tooltip. */
export function button(
  look: { readonly label: string; readonly icon?: IconName; readonly text?: string; readonly class?: string },
  onClick: (event: MouseEvent) => void,
): HTMLButtonElement {
  const { label, text } = look
  const element = el(
    'button',
    {
      type: 'button',
      class: look.class ?? (text === undefined ? 'icon-button' : 'text-button'),
      // A shown text is its own name, unless the label says more.
      'aria-label': text === label ? undefined : label,
      title: text === undefined ? label : undefined,
    },
    look.icon === undefined ? undefined : icon(look.icon),
    text,
  )
  element.addEventListener('click', onClick)
  return element
}

/** Strokes on a field of 24 by 24. */
const ICONS = {
  arrowDown: 'M12 5v14M6 13l6 6 6-6',
  arrowUp: 'M12 19V5M6 11l6-6 6 6',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  close: 'M6 6l12 12M18 6L6 18',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.700l1-1',
  menu: 'M4 7h16M4 12h16M4 17h10',
  plus: 'M12 5v14M5 12h14',
  refresh: 'M20 12a8 8 0 1 1-2.300-5.700L20 8.500M20 4v4.500h-4.500',
  stop: 'M7 7h10v10H7z',
} as const

/** The name of an icon. */
export type IconName = keyof typeof ICONS

/** An icon in the colour of its text. It is hidden from screen readers: what it means stands beside it. */
export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('class', `icon icon-${name}`)
  svg.setAttribute('aria-hidden', 'true')
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  path.setAttribute('d', ICONS[name])
  svg.append(path)
  return svg
}
