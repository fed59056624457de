import { setTimeout as sleep } from 'node:timers/promises'
import { type Chatter, createChatter } from './chatter.ts'
import type { CrowdAnswer, CrowdOrder } from './crowd.ts'

/** Clients in a process of their own, so that their sockets do not count against the test's open-files limit. */

/** How many begin at once: more would wait for each other beyond the client's patience. */
const AT_ONCE = 200
const PAUSE_MS = 50

const chatters: Chatter[] = []
let urls: readonly string[] = []
let asked = 0

async function join(first: number, count: number, channels: number): Promise<void> {
  for (let n = first; n < first + count; n++) {
    const channel = `crowd-${n % channels}`
    chatters.push(createChatter(`crowd/${n}`, channel, () => urls[asked++ % urls.length] ?? 'ws://127.0.0.1:9'))
    if (n % AT_ONCE === 0) await sleep(PAUSE_MS)
  }
  await Promise.all(chatters.map((chatter) => chatter.until(() => chatter.welcomes.length > 0)))
}

async function obey(order: CrowdOrder): Promise<CrowdAnswer> {
  switch (order.type) {
    case 'urls':
      urls = order.urls
      return {}
    case 'join':
      await join(order.first, order.count, order.channels)
      return {}
    case 'reach':
      await Promise.all(
        chatters.map((chatter) =>
          chatter.until(() => {
            const { epoch, offset } = chatter.seen()
            return order.heads[chatter.channel] === `${epoch}:${offset}`
          }),
        ),
      )
      return {}
    case 'tell':
      return {
        seen: chatters.map((chatter) => {
          const { states, snapshots, messages, turns, acknowledged, positions, ...rest } = chatter.seen()
          const maps = { states: [...states], snapshots: [...snapshots], messages: [...messages], turns: [...turns] }
          return {
            ...rest,
            ...maps,
            acknowledged: [...acknowledged],
            positions: [...positions],
            counts: chatter.counts,
            welcomes: chatter.welcomes,
          }
        }),
      }
  }
}

process.on('message', (order: CrowdOrder) => {
  void obey(order).then((answer) => process.send?.(answer))
})
