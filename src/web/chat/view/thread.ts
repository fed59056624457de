import { canRegenerate, type Item, isRunning, type TurnItem } from '../../../client/conversation.ts'
import type { ChatView } from '../chat.ts'
import type { PageDraft } from '../kept-drafts.ts'
import { el } from './dom.ts'
import { createDraftView, type DraftActions } from './draft-view.ts'
import { createTurnView, type TurnActions, type TurnPlace, type TurnView } from './turn-view.ts'

/** The conversation, from top to bottom, and below it what has not been sent yet. */
export interface Thread {
  readonly element: HTMLElement
  /** Shows the chat; answers whether there is more to show in the next frame. */
  update(view: ChatView): boolean
  /** A turn's answer as it is shown, without Markdown's signs. */
  textOf(turnId: string): string
}

interface Shown {
  readonly element: HTMLElement
  readonly turn?: TurnView
  item?: Item
  place?: TurnPlace
  more?: boolean
}

/** Elements are kept by what they show, and touched only where that has changed. */
export function createThread(actions: TurnActions & DraftActions, calm: boolean): Thread {
  const turns = el('div', { class: 'turns' })
  const drafts = el('div', { class: 'drafts' })
  const element = el(
    'div',
    { class: 'thread', role: 'log', 'aria-live': 'off', 'aria-label': 'Conversation' },
    turns,
    drafts,
  )
  let shown = new Map<string, Shown>()
  let draftsShown: { outbox: readonly PageDraft[]; linked: boolean } | undefined

  function create(item: Item): Shown {
    if (item.kind === 'turn') {
      const turn = createTurnView(actions, calm)
      return { element: turn.element, turn }
    }
    const text =
      item.edge === 'start' ? 'New conversation: what was said above is not known any more' : 'Conversation ended'
    return { element: el('div', { class: 'divider', role: 'separator' }, el('span', {}, text)) }
  }

  function showTurn(entry: Shown, item: TurnItem, place: TurnPlace): boolean {
    const { canRegenerate: again, isBehind } = place
    const isElsewhere = entry.place?.canRegenerate !== again || entry.place.isBehind !== isBehind
    if (entry.item !== item || isElsewhere || entry.more) {
      entry.more = entry.turn?.update(item, place) ?? false
      entry.item = item
      entry.place = place
    }
    return entry.more ?? false
  }

  return {
    element,
    textOf: (turnId) => shown.get(turnId)?.element.querySelector('.markdown')?.textContent.trim() ?? '',
    update(view) {
      const { items } = view.conversation
      const again = canRegenerate(view.conversation) && !view.outbox.some((draft) => draft.refused === undefined)
      const next = new Map<string, Shown>()
      let more = false
      let isBusyAbove = false
      let place = turns.firstElementChild
      for (const [index, item] of items.entries()) {
        const key = item.kind === 'turn' ? item.turnId : item.key
        const entry = shown.get(key) ?? create(item)
        next.set(key, entry)
        if (item.kind === 'turn') {
          const isBehind = isBusyAbove && item.answer === undefined
          more = showTurn(entry, item, { canRegenerate: again && index === items.length - 1, isBehind }) || more
          isBusyAbove ||= item.waiting || isRunning(item)
        }
        if (entry.element === place) place = place.nextElementSibling
        else turns.insertBefore(entry.element, place)
      }
      for (const [key, entry] of shown) if (next.get(key) !== entry) entry.element.remove()
      shown = next
      const linked = view.link.at === 'open' && !view.draining
      if (draftsShown?.outbox !== view.outbox || draftsShown.linked !== linked) {
        draftsShown = { outbox: view.outbox, linked }
        drafts.replaceChildren(...view.outbox.flatMap((draft) => createDraftView(draft, linked, actions) ?? []))
      }
      return more
    },
  }
}
