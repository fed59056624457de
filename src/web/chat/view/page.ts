import type { ChatView } from '../chat.ts'
import type { RecentChat } from '../recent-chats.ts'
import { statusOf } from '../status.ts'
import { createAnnouncer } from './announcer.ts'
import { createComposer } from './composer.ts'
import { button, el } from './dom.ts'
import type { DraftActions } from './draft-view.ts'
import { followScroll } from './follow-scroll.ts'
import { createSidebar } from './sidebar.ts'
import { createStatusView } from './status-view.ts'
import { createThread } from './thread.ts'
import { createToasts } from './toast.ts'
import { createWelcomeView } from './welcome-view.ts'

/** All that a person can do on the page. */
export interface PageActions extends DraftActions {
  send(content: string): number
  stop(turnId?: string): void
  regenerate(): void
  reconnect(): void
  newChat(): void
  copyLink(): void
  forget(channel: string): void
}

/** The chat page. */
export interface Page {
  /** Shows another chat, from the beginning. */
  enter(channel: string): void
  /** Shows the chat as it is now. At most one drawing a frame comes of it. */
  show(view: ChatView): void
  showChats(chats: readonly RecentChat[], title: string): void
  toast(sentence: string): void
}

/** Builds the page into `root`; `now` is the chat's clock. */
export function createPage(root: HTMLElement, actions: PageActions, now: () => number): Page {
  const calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches
  const status = createStatusView(actions.reconnect)
  const toasts = createToasts()
  const announcer = createAnnouncer()
  const title = el('h1', {}, 'New chat')
  const composer = createComposer({
    send(content) {
      const excess = actions.send(content)
      if (excess === 0) scroll.toEnd()
      return excess
    },
    stop: () => actions.stop(),
  })
  const welcome = createWelcomeView((text) => composer.fill(text))
  const column = el('div', { class: 'column' }, welcome)
  const scroller = el('main', { class: 'scroller', tabindex: -1 }, column)
  const jump = button({ label: 'Jump to the latest', icon: 'arrowDown', class: 'round-button jump' }, () =>
    scroll.toEnd(),
  )
  jump.hidden = true
  const menu = button({ label: 'Chats', icon: 'menu' }, () => sidebar.open())
  menu.classList.add('menu-button')
  const newChat = button({ label: 'New chat', icon: 'plus' }, actions.newChat)
  newChat.classList.add('new-chat-button')
  const header = el(
    'header',
    {},
    menu,
    title,
    status.badge,
    button({ label: 'Copy the link to this chat', icon: 'link' }, actions.copyLink),
    newChat,
  )
  const foot = el('div', { class: 'foot' }, jump, toasts.element, status.line, composer.element)
  const chat = el('div', { class: 'chat' }, header, scroller, foot, announcer.element)
  const sidebar = createSidebar(actions, chat)
  root.replaceChildren(sidebar.element, sidebar.backdrop, chat)
  const scroll = followScroll(scroller, column, (following) => {
    jump.hidden = following
  })

  let thread = createThread(actions, calm)
  let latest: ChatView | undefined
  let channel = ''
  let drawing = false
  let clockTick: number | undefined

  function draw(): void {
    drawing = false
    if (latest === undefined) return
    const state = statusOf(latest, now())
    status.update(state)
    composer.update(latest.turn !== 'idle', latest.link.at === 'open')
    const empty = latest.conversation.items.length === 0 && latest.outbox.length === 0
    // Before the server has said what the channel holds, nothing says that it is empty.
    welcome.hidden = !empty || latest.conversation.epoch === undefined
    const more = thread.update(latest)
    if (!more) announcer.update(latest, thread.textOf)
    // Sentences that count seconds down are drawn once a second; nothing else here needs time.
    window.clearTimeout(clockTick)
    if (state.prominent) clockTick = window.setTimeout(schedule, 500)
    if (more) schedule()
  }

  function schedule(): void {
    if (drawing) return
    drawing = true
    requestAnimationFrame(draw)
  }

  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.isComposing || sidebar.close()) return
    if (latest !== undefined && latest.turn !== 'idle') actions.stop()
  })

  return {
    enter(name) {
      channel = name
      latest = undefined
      thread.element.remove()
      thread = createThread(actions, calm)
      column.append(thread.element)
      scroll.toEnd()
      composer.focus()
    },
    show(view) {
      latest = view
      schedule()
    },
    showChats(chats, chatTitle) {
      title.textContent = chatTitle
      document.title = `${chatTitle} · Statewire`
      sidebar.update(chats, channel)
    },
    toast: toasts.show,
  }
}
