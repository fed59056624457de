import './style.css'
import { connect, randomId } from '../../client/connect.ts'
import { channelOfHash, hashOfChannel } from './channel-name.ts'
import { type ChatView, createPageChat, type PageChat } from './chat.ts'
import { draftsOf, keepDrafts } from './kept-drafts.ts'
import { keyedText } from './keyed-text.ts'
import { forgetChat, recentChats, rememberChat, titleOf } from './recent-chats.ts'
import { copyText } from './view/copy.ts'
import { createPage } from './view/page.ts'

const chatStorage = keyedText(() => window.localStorage)
const draftStorage = keyedText(() => window.sessionStorage)
let channel = ''
let chat: PageChat | undefined
let title: string | undefined

const root = document.querySelector<HTMLElement>('#page')
if (root === null) throw new Error('the page has no #page')

const page = createPage(
  root,
  {
    send: (content) => chat?.send(content) ?? 0,
    stop: (turnId) => chat?.stop(turnId),
    regenerate: () => chat?.regenerate(),
    retry: (id) => chat?.retry(id),
    discard: (id) => chat?.discard(id),
    reconnect: () => chat?.reconnect(),
    newChat: () => go(randomId()),
    async copyLink() {
      const copied = await copyText(location.href)
      page.toast(copied ? 'Link copied' : 'The link could not be copied. It stands in the address bar.')
    },
    forget(name) {
      forgetChat(chatStorage, name)
      showChats()
    },
  },
  () => performance.now(),
)

function go(name: string): void {
  location.hash = hashOfChannel(name)
}

function enter(): void {
  const named = channelOfHash(location.hash)
  const name = named ?? randomId()
  // The name goes into the address, so that a reload and a copied link lead back here.
  if (named === undefined) history.replaceState(null, '', hashOfChannel(name))
  if (name === channel) return
  chat?.close()
  channel = name
  title = undefined
  page.enter(name)
  showChats()
  const heldBack = draftsOf(draftStorage, name)
  const mine = createPageChat({
    chat: connect(`/ai-chat/${name}`),
    newId: randomId,
    heldBack,
    onChange(view) {
      if (channel === name) changed(view)
    },
    onNotice: page.toast,
  })
  chat = mine
  changed(mine.view())
}

function changed(view: ChatView): void {
  keepDrafts(draftStorage, channel, view.outbox)
  const first = firstWords(view)
  if (first !== undefined && title === undefined) {
    rememberChat(chatStorage, channel, first, Date.now())
    title = first
    showChats()
  }
  page.show(view)
}

function firstWords(view: ChatView): string | undefined {
  const question = view.conversation.items.find((item) => item.kind === 'turn' && item.question !== undefined)
  return question?.kind === 'turn' ? question.question : undefined
}

function showChats(): void {
  const chats = recentChats(chatStorage)
  const known = chats.find((each) => each.channel === channel)?.title
  page.showChats(chats, known ?? (title === undefined ? 'New chat' : titleOf(title)))
}

window.addEventListener('hashchange', enter)
window.addEventListener('storage', showChats)
enter()
