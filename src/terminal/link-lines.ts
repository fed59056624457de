import type { Chat } from '../client/index.ts'

/** How many attempts a first connection gets where nobody watches. */
const FIRST_ATTEMPTS = 5
/** How long a lost connection may take to come back where nobody watches, in ms. */
const PATIENCE_MS = 60_000

/** Tells in a line when the connection is lost, is back, or has ended for good. */
export function tellLink(chat: Chat, url: string, tell: (line: string) => void): void {
  let isLost = false
  let wasOpen = false
  chat.on('state', (link) => {
    if (link.at === 'open') {
      if (isLost) tell('Connected.')
      isLost = false
      wasOpen = true
    } else if (link.at === 'closed' && link.code !== undefined) {
      tell(`The server ended the connection: ${link.reason || 'without a reason'} (${link.code}).`)
    } else if (link.at === 'waiting' && !isLost) {
      isLost = true
      tell(wasOpen ? 'Connection lost. Reconnecting…' : `${url} cannot be reached. Trying again…`)
    }
  })
}

/** Calls back where the connection cannot be had, or does not come back, in a reasonable time. */
export function loseHope(chat: Chat, lost: () => void): void {
  let wasOpen = false
  let timer: NodeJS.Timeout | undefined
  chat.on('state', (link) => {
    if (link.at === 'open' || link.at === 'closed') {
      wasOpen = true
      clearTimeout(timer)
      timer = undefined
    } else if (link.at === 'waiting') {
      if (!wasOpen && link.failures >= FIRST_ATTEMPTS) lost()
      else timer ??= setTimeout(lost, PATIENCE_MS)
    }
  })
}
