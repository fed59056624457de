import { type Chat, connect } from '../src/client/index.ts'
import { loadConfig } from '../src/config.ts'
import { openRedisLog } from '../src/log/redis-log.ts'
import { createServer } from '../src/server.ts'
import { startRedis } from '../test/support/redis.ts'

/**
 * `node --disable-warning=ExperimentalWarning bench/redis-memory.ts`: what a conversation takes in Redis, in a redis-server of
 * its own. The simulated model repeats the words that it is asked, a chunk a word.
 */
const CONVERSATIONS = 50
const WORDS = 200
const WORD = 'sixish'
const MS_PER_WORD = 10
/** When it is measured. */
const TURNS = [1, 10, 20]

const redis = await startRedis()
const config = { REDIS_URL: redis.url, PORT: '0', ADMIN_PORT: '0', SIMULATED_DELAY_MS: String(MS_PER_WORD) }
const log = await openRedisLog({ url: redis.url, ttlMs: 3_600_000, waitReplicas: 0 })
const server = createServer(loadConfig(config), { log })
await server.start()

async function usedBytes(): Promise<number> {
  const [, bytes] = /^used_memory:(\d+)/m.exec(String(await redis.call('info', 'memory'))) ?? []
  return Number(bytes)
}

const url = `ws://127.0.0.1:${server.port}/chat`
const chats = Array.from({ length: CONVERSATIONS }, (_, n) => connect(`${url}/conversation-${n}`))
const question = Array.from({ length: WORDS }, () => WORD).join(' ')
const textBytes = 2 * question.length
const tell = (turns: number, state: string, bytes: number) => {
  const each = bytes / CONVERSATIONS
  console.log(
    `${2 * turns} messages, ${state}: ${(each / 1024).toFixed(1)} KB (text: ${(each / turns / textBytes).toFixed(1)} times)`,
  )
}

const isOpen = (chat: Chat) => new Promise<void>((resolve) => chat.on('state', ({ at }) => at === 'open' && resolve()))
await Promise.all(chats.map(isOpen))
const empty = await usedBytes()
let done = 0
for (const turns of TURNS) {
  for (; done < turns; done++) await Promise.all(chats.map((chat) => chat.send(question).ended))
  tell(turns, 'with its chunks', (await usedBytes()) - empty)
}
await log.fold(Date.now() + 1)
tell(done, 'folded', (await usedBytes()) - empty)

for (const chat of chats) chat.close()
await server.stop()
await redis.close()
