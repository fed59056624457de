import type { KeyedText } from './keyed-text.ts'

/** A chat that was held in this browser. `title` is how its first message begins; `at` is ms since 1970. */
export interface RecentChat {
  readonly channel: string
  readonly title: string
  readonly at: number
}

const KEY = 'statewire.chats'
const MAX_CHATS = 40
const MAX_TITLE = 60

/** The chats of this browser, newest first. */
export function recentChats(storage: KeyedText): readonly RecentChat[] {
  try {
    const value: unknown = JSON.parse(storage.getItem(KEY) ?? '[]')
    return Array.isArray(value) ? value.flatMap(readChat) : []
  } catch {
    // Storage is off in this browser, or holds something else: there is just no list then.
    return []
  }
}

/** Puts a chat at the top; its first title stays. */
export function rememberChat(storage: KeyedText, channel: string, firstMessage: string, at: number): void {
  const chats = recentChats(storage)
  const title = chats.find((chat) => chat.channel === channel)?.title ?? titleOf(firstMessage)
  const others = chats.filter((chat) => chat.channel !== channel)
  write(storage, [{ channel, title, at }, ...others].slice(0, MAX_CHATS))
}

/** Takes a chat off the list. Its channel stays as it is. */
export function forgetChat(storage: KeyedText, channel: string): void {
  write(
    storage,
    recentChats(storage).filter((chat) => chat.channel !== channel),
  )
}

/** How a message begins, on one line. */
export function titleOf(message: string): string {
  const line = message.replace(/\s+/g, ' ').trim()
  return line.length <= MAX_TITLE ? line : `${line.slice(0, MAX_TITLE).trimEnd()}…`
}

function write(storage: KeyedText, chats: readonly RecentChat[]): void {
  try {
    storage.setItem(KEY, JSON.stringify(chats))
  } catch {
    // Full, or switched off: the list is a convenience, and the chat goes on without it.
  }
}

function readChat(value: unknown): RecentChat[] {
  if (typeof value !== 'object' || value === null) return []
  if (!('channel' in value) || !('title' in value) || !('at' in value)) return []
  const { channel, title, at } = value
  return typeof channel === 'string' && typeof title === 'string' && typeof at === 'number'
    ? [{ channel, title, at }]
    : []
}
