import type { Position } from '../protocol/position.ts'
import type { Chat } from './chat.ts'
import { realClock } from './client-clock.ts'
import { createChat } from './create-chat.ts'
import { openSocket } from './socket.ts'
import { watchBrowser } from './watch-browser.ts'

/** How to connect. Everything has its default. */
export interface ConnectOptions {
  /** Where an earlier run of the same client was (`chat.position`): only what came after it is told. */
  readonly position?: Position
  /** Whether to come back after this close code; by default what SPEC.md's table of close codes says. */
  again?(code: number): boolean
}

/**
 * Joins a channel, such as `wss://example.com/ai-chat/my-chat`, and stays with it until `close()`. A function as `url` is
 * asked before each attempt, which is the place for a token that does not live long: it may answer a promise. In a page,
 * `/ai-chat/my-chat` is enough. Throws a TypeError where a fixed URL is none.
 */
export function connect(url: string | (() => string | Promise<string>), options: ConnectOptions = {}): Chat {
  const chat = createChat({
    ...options,
    url: typeof url === 'string' ? whole(url) : async () => whole(await url()),
    openSocket,
    clock: realClock,
    random: Math.random,
    newId: randomId,
    onClose: () => unwatch(),
  })
  const unwatch = watchBrowser(chat.wake, chat.offline)
  return chat
}

/** 128 random bits in hexadecimal. (`crypto.randomUUID` is missing on plain http.) */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** A page's own paths are those of its server. */
function whole(url: string): string {
  const global: object = globalThis
  const base = 'location' in global ? String(global.location) : undefined
  const address = new URL(url, base)
  address.protocol = address.protocol.replace(/^http/, 'ws')
  return address.href
}
