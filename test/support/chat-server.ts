import { onTestFinished } from 'vitest'
import type { ChannelLog } from '../../src/log/channel-log.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { openSqliteLog } from '../../src/log/sqlite-log.ts'
import type { Entry, EntryOf } from '../../src/protocol/entry.ts'
import type { ServerParts } from '../../src/server-parts.ts'
import { type Client, connect } from './client.ts'
import { createFakeClock, type FakeClock } from './fake-clock.ts'
import { type Env, startServer, type TestServer, temporaryDirectory } from './server.ts'
import { startUpstream, type Upstream } from './upstream.ts'

/** Where a chat's log is kept in a test. */
export type Store = 'memory' | 'sqlite'
export const STORES: readonly Store[] = ['memory', 'sqlite']

/** A server whose `/ai-chat` asks a real upstream over HTTP, and whose log the test may read. */
export interface ChatServer {
  readonly server: TestServer
  readonly upstream: Upstream
  readonly log: ChannelLog
  /** Connects to `/ai-chat/one`, or to another path; `path` may have a query alone. */
  join(path?: string): Promise<Client>
  /** All entries of a channel's log, hidden ones too. */
  entries(key?: string): Promise<Entry[]>
  entriesOf<T extends Entry['type']>(type: T, key?: string): Promise<EntryOf<T>[]>
}

/** Ended, with its upstream, when the test has finished. */
export async function startChatServer(
  env: Env = {},
  { store = 'memory', ...parts }: ServerParts & { store?: Store } = {},
): Promise<ChatServer> {
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const log = parts.log ?? (await openLog(store))
  const server = await startServer(
    { OPENAI_BASE_URL: upstream.baseUrl, LLM_BACKOFF_MS: '1', ...env },
    { ...parts, log },
  )

  async function entries(key = 'ai-chat/one'): Promise<Entry[]> {
    const all: Entry[] = []
    const { epoch = '' } = await log.head(key)
    for (let offset = 0; ; ) {
      const page = await log.read(key, { epoch, offset }, { records: 1000, bytes: 1e6 })
      if (!page.honoured) throw new Error('the log does not begin at its first entry')
      all.push(...page.records.map(({ entry }) => entry))
      const last = page.records.at(-1)
      if (last === undefined) return all
      offset = last.offset
    }
  }

  return {
    server,
    upstream,
    log,
    join: (path = '') => connect(`${server.url}${path.startsWith('/') ? path : `/ai-chat/one${path}`}`),
    entries,
    async entriesOf(type, key) {
      const isOne = (entry: Entry): entry is EntryOf<typeof type> => entry.type === type
      return (await entries(key)).filter(isOne)
    },
  }
}

/** A log of a kind; SQLite's in a directory of its own. Whoever serves it closes it. */
export function openLog(store: Store): Promise<ChannelLog> | ChannelLog {
  return store === 'memory' ? createMemoryLog() : openSqliteLog({ dataDir: temporaryDirectory() })
}

/** A clock that only the test moves, until the test has finished: then it runs, so that what waits for it can end. */
export function createTestClock(): { clock: FakeClock; letRun: () => void } {
  const clock = createFakeClock()
  let running: NodeJS.Timeout | undefined
  onTestFinished(() => clearInterval(running))
  return {
    clock,
    letRun() {
      running = setInterval(() => clock.advance(1000), 2)
    },
  }
}

/** A chat server on such a clock. */
export async function startClockedServer(
  env: Env = {},
  parts: ServerParts & { store?: Store } = {},
): Promise<ChatServer & { clock: FakeClock }> {
  const { clock, letRun } = createTestClock()
  const chat = await startChatServer(env, { ...parts, clock })
  // What is registered last runs first: the clock runs while the server stops.
  onTestFinished(letRun)
  return { ...chat, clock }
}

/** Sends a message and waits for its acknowledgement; answers the turn's id. */
export async function say(client: Client, content: string, more: object = {}): Promise<string> {
  const seen = client.frames.length
  client.send({ type: 'user_message', content, ...more })
  const stored = await client.next('user_message', (frame) => client.frames.indexOf(frame) >= seen)
  return String(stored.turn_id)
}

/** Sends a message and waits until its turn has ended; answers the turn's id. */
export async function ask(client: Client, content: string, more: object = {}): Promise<string> {
  const turn_id = await say(client, content, more)
  await ended(client, turn_id)
  return turn_id
}

/** The end of a turn. */
export function ended(client: Client, turn_id: string) {
  return client.next('ai_stream_end', (frame) => frame.turn_id === turn_id)
}

/** Resolves when the server has handled all that the client has sent and what it answered has arrived. */
export async function settled(client: Client): Promise<void> {
  client.send({ type: 'ping' })
  await client.next('pong')
}

/** Frames of one type that a client has got. */
export function framesOf(client: Client, type: string) {
  return client.frames.filter((frame) => frame.type === type)
}
