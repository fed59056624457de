import type { Token } from 'marked'
import { blocksOf, renderBlock } from '../markdown.ts'
import { copyButton } from './copy.ts'
import { el } from './dom.ts'

/** A link of which half has come would show its address for a moment. */
const UNFINISHED_LINK = /!?\[([^\]\n]*)\]\([^)\n]*$/

interface Block {
  readonly raw: string
  readonly element: HTMLElement
}

/** A Markdown text that grows. */
export interface MarkdownView {
  readonly element: HTMLElement
  /** Shows the text. `ended` says that nothing more comes, and renders it once from the beginning. */
  update(text: string, ended: boolean): void
}

/**
 * Renders only what may still change: the last two blocks of a growing text. The blocks above them are settled, so that
 * a long answer costs no more a frame than a short one, and what a person has selected in it stays selected.
 */
export function createMarkdownView(): MarkdownView {
  const element = el('div', { class: 'markdown' })
  let blocks: Block[] = []
  let settled = { blocks: 0, text: '' }

  return {
    element,
    update(text, ended) {
      if (ended || !text.startsWith(settled.text)) settled = { blocks: 0, text: '' }
      const open = text.slice(settled.text.length)
      const tokens = blocksOf(ended ? open : open.replace(UNFINISHED_LINK, '$1'))
      // A link's definition at the end changes how the blocks above it look.
      const again = ended && tokens.some((token) => token.type === 'def')
      const shown = tokens.filter((token) => token.type !== 'space' && token.type !== 'def')
      const fresh = shown.map((token, index): Block => {
        const old = blocks[settled.blocks + index]
        return old !== undefined && old.raw === token.raw && !again ? old : { raw: token.raw, element: build(token) }
      })
      blocks = [...blocks.slice(0, settled.blocks), ...fresh]
      place(element, blocks, settled.blocks)
      if (!ended) settled = settle(settled, tokens, shown)
    },
  }
}

function settle(before: { blocks: number; text: string }, tokens: readonly Token[], shown: readonly Token[]) {
  const firstOpen = shown.at(-2)
  if (firstOpen === undefined) return before
  const closed = tokens.slice(0, tokens.indexOf(firstOpen))
  return {
    blocks: before.blocks + shown.length - 2,
    text: before.text + closed.map((token) => token.raw).join(''),
  }
}

function place(parent: HTMLElement, blocks: readonly Block[], from: number): void {
  for (let index = from; index < blocks.length; index++) {
    const wanted = blocks[index]?.element
    const present = parent.children[index]
    if (wanted === undefined || present === wanted) continue
    if (present === undefined) parent.append(wanted)
    else present.replaceWith(wanted)
  }
  while (parent.children.length > blocks.length) parent.lastElementChild?.remove()
}

function build(token: Token): HTMLElement {
  const block = el('div', { class: `block block-${token.type}` }, renderBlock(token))
  for (const pre of block.querySelectorAll('pre')) frameCode(pre)
  for (const table of block.querySelectorAll('table')) {
    const frame = el('div', { class: 'table-frame' })
    table.replaceWith(frame)
    frame.append(table)
  }
  return block
}

function frameCode(pre: HTMLElement): void {
  const language = /language-([\w+#.-]+)/.exec(pre.querySelector('code')?.className ?? '')?.[1] ?? ''
  const head = el('div', { class: 'code-head' }, el('span', {}, language))
  head.append(copyButton('Copy code', () => pre.textContent.replace(/\n$/, '')))
  const frame = el('div', { class: 'code-frame' }, head)
  pre.replaceWith(frame)
  frame.append(pre)
}
