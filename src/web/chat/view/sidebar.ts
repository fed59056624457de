import { hashOfChannel } from '../channel-name.ts'
import type { RecentChat } from '../recent-chats.ts'
import { button, el } from './dom.ts'

/** What a person can do with the list of chats. */
export interface SidebarActions {
  newChat(): void
  forget(channel: string): void
}

/** The list of recent chats; on a narrow screen it slides in over the page. */
export interface Sidebar {
  readonly element: HTMLElement
  readonly backdrop: HTMLElement
  update(chats: readonly RecentChat[], current: string): void
  open(): void
  /** Answers whether it was open. */
  close(): boolean
}

/** `beneath` takes no focus while the list lies over it. */
export function createSidebar(actions: SidebarActions, beneath: HTMLElement): Sidebar {
  const list = el('ul')
  const empty = el('p', { class: 'sidebar-empty' }, 'Your chats will be listed here. The list stays in this browser.')
  const newChat = button({ label: 'New chat', text: 'New chat', icon: 'plus', class: 'new-chat' }, () => {
    close()
    actions.newChat()
  })
  const shut = button({ label: 'Close the list', icon: 'close' }, () => close())
  shut.classList.add('sidebar-close')
  const head = el('div', { class: 'sidebar-head' }, newChat, shut)
  const element = el('nav', { class: 'sidebar', 'aria-label': 'Chats' }, head, el('h2', {}, 'Recent'), list, empty)
  const backdrop = el('div', { class: 'backdrop' })
  backdrop.addEventListener('click', () => close())
  let opener: Element | null = null
  let shown = ''

  function close(): boolean {
    if (!element.classList.contains('open')) return false
    element.classList.remove('open')
    beneath.inert = false
    if (opener instanceof HTMLElement) opener.focus()
    return true
  }

  function row(chat: RecentChat, current: boolean): HTMLElement {
    const link = el(
      'a',
      { href: hashOfChannel(chat.channel), title: chat.title, 'aria-current': current ? 'page' : undefined },
      chat.title,
    )
    link.addEventListener('click', () => close())
    const forget = button({ label: `Take “${chat.title}” off the list`, icon: 'close' }, () =>
      actions.forget(chat.channel),
    )
    return el('li', {}, link, forget)
  }

  return {
    element,
    backdrop,
    update(chats, current) {
      const next = JSON.stringify([chats.map((chat) => [chat.channel, chat.title]), current])
      if (next === shown) return
      shown = next
      empty.hidden = chats.length > 0
      list.replaceChildren(...chats.map((chat) => row(chat, chat.channel === current)))
    },
    open() {
      opener = document.activeElement
      element.classList.add('open')
      beneath.inert = true
      newChat.focus()
    },
    close,
  }
}
