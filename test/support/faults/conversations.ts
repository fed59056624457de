import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { createClient, type RedisClient, whenReady } from '../../../src/log/redis-clients.ts'
import { type ChannelKeys, keysOf } from '../../../src/log/redis-keys.ts'
import { parseRedisUrl } from '../../../src/log/redis-url.ts'
import { entrySchema } from '../../../src/protocol/entry.ts'
import { type Chatter, createChatter } from './chatter.ts'
import type { Deployment } from './deployment.ts'
import type { Evidence, LoggedChannel } from './evidence.ts'

/** Many chats at once, each with one who asks and others who read along, on whichever nodes they come to. */
export interface Conversations {
  readonly chatters: readonly Chatter[]
  /** How many messages and regenerations have had their end. */
  readonly ended: number
  /** Asks nothing new, and resolves when all that was asked has ended and everybody has seen it. Rejects where that takes too long. */
  finish(): Promise<void>
  /** Everything that the checker needs, when it is over. */
  evidence(mayLose?: boolean): Promise<Evidence>
}

/** See {@link converse}. */
export interface ConversationsOptions {
  readonly chats: number
  /** Members of each chat. */
  readonly members: number
  readonly redisUrl: string
  /** The most that a chat asks by itself. */
  readonly turns?: number
  /** What the names of its channels begin with. */
  readonly name?: string
  /** The last member of each chat is cut at every frame. */
  readonly isCut?: boolean
}

/** How long everything may take to end and to be seen when there are no more faults, in ms. */
const PATIENCE_MS = 60_000
const POLL_MS = 50
const REDIS_MS = 5_000

/** Of a stream's id. */
const offsetOf = (id: string) => Number(id.split('-')[0])

/** Begins them. Each chat asks one thing after the other; what was interrupted is regenerated. Ended with the test. */
export function converse(
  { urlAt, said }: Deployment,
  { chats, members, redisUrl, turns = Number.POSITIVE_INFINITY, name = 'chat', isCut = false }: ConversationsOptions,
): Conversations {
  let isOver = false
  let ended = 0
  const chatters: Chatter[] = []
  const asking: Promise<void>[] = []
  const channels = Array.from({ length: chats }, (_, n) => `${name}-${n}`)

  async function ask(asker: Chatter): Promise<void> {
    for (let n = 0; n < turns && !isOver; n++) {
      const content = `${asker.channel} message ${n}`
      let outcome = await asker.ask(`${asker.channel}-${n}`, content)
      ended++
      for (let again = 0; outcome === 'interrupted'; again++) {
        outcome = await asker.regenerate(`${asker.channel}-${n}-again-${again}`)
        ended++
      }
    }
  }

  for (const [at, channel] of channels.entries()) {
    const all = Array.from({ length: members }, (_, n) => {
      // The members of a chat are on different nodes, and who asks is on each of them in some chat.
      let turn = at + n
      return createChatter(`${channel}/${n}`, channel, () => urlAt(turn++), { isCutAtEach: isCut && n === members - 1 })
    })
    chatters.push(...all)
    if (all[0] !== undefined) asking.push(ask(all[0]))
  }
  onTestFinished(() => {
    isOver = true
    for (const chatter of chatters) chatter.close()
  })

  /** Each channel as Redis has it, whatever the log would show of it. */
  async function readEach<T>(
    read: (client: RedisClient, keys: ChannelKeys, channel: string) => Promise<T>,
  ): Promise<T[]> {
    const target = parseRedisUrl(redisUrl)
    const client = createClient(target, 'commands', REDIS_MS)
    try {
      await whenReady(client, target.description, REDIS_MS)
      const all: T[] = []
      for (const channel of channels) all.push(await read(client, keysOf(`ai-chat/${channel}`), channel))
      return all
    } finally {
      client.disconnect()
    }
  }

  const epochOf = async (client: RedisClient, { meta }: ChannelKeys) => (await client.hget(meta, 'epoch')) ?? ''

  const readLogs = () =>
    readEach(async (client, keys, channel): Promise<LoggedChannel> => {
      const rows = await client.xrange(keys.log, '-', '+')
      const records = rows.map(([id, [, time, , text = '']]) => ({
        offset: offsetOf(id),
        time: Number(time),
        entry: entrySchema.parse(JSON.parse(text)),
      }))
      return { channel, epoch: await epochOf(client, keys), records }
    })

  /** Answers who is not where his log is, in words. */
  async function behind(): Promise<string[]> {
    const heads = new Map(
      await readEach(async (client, keys, channel) => {
        const [last] = await client.xrevrange(keys.log, '+', '-', 'COUNT', 1)
        return [channel, `${await epochOf(client, keys)}:${last === undefined ? 0 : offsetOf(last[0])}`] as const
      }),
    )
    const seen = chatters.map((chatter) => chatter.seen())
    return seen.flatMap(({ name, channel, epoch, offset }) => {
      const head = heads.get(channel)
      return `${epoch}:${offset}` === head || head === ':0'
        ? []
        : [`${name} is at ${epoch}:${offset}, the log at ${head}`]
    })
  }

  return {
    chatters,
    get ended() {
      return ended
    },
    async finish() {
      isOver = true
      const deadline = performance.now() + PATIENCE_MS
      const all = Promise.all(asking).then(() => true)
      const isDone = await Promise.race([all, sleep(PATIENCE_MS, false, { ref: false })])
      if (!isDone) throw new Error(`a turn has not ended in time: ${(await behind()).join('; ')}`)
      for (let late = await behind(); late.length > 0; late = await behind()) {
        if (performance.now() > deadline) throw new Error(`not everybody has seen the end: ${late.join('; ')}`)
        await sleep(POLL_MS)
      }
    },
    async evidence(mayLose = false) {
      return {
        logs: await readLogs(),
        clients: chatters.map((chatter) => chatter.seen()),
        requests: [...said],
        mayLose,
      }
    },
  }
}
