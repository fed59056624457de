import { expect, onTestFinished, test } from 'vitest'
import { ended, framesOf, say } from '../support/chat-server.ts'
import { type Client, connect } from '../support/client.ts'
import { startRedis } from '../support/redis.ts'
import { type Env, startServer, type TestServer } from '../support/server.ts'
import { startUpstream } from '../support/upstream.ts'

/** Two servers that share a Redis and a model, and how a user of an address joins a chat or a room of one of them. */
async function startTwo(env: Env) {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const settings = { REDIS_URL: redis.url, OPENAI_BASE_URL: upstream.baseUrl, TRUSTED_PROXIES: '127.0.0.1', ...env }
  const signIn = { authenticate: ({ query }: { query: URLSearchParams }) => ({ id: query.get('user') ?? 'anonymous' }) }
  const [a, b] = await Promise.all([startServer(settings, signIn), startServer(settings, signIn)])
  const join = (server: TestServer, path: string, ip: string): Promise<Client> =>
    connect(server.url + path, { headers: { 'X-Forwarded-For': ip } })
  return { redis, upstream, a, b, join }
}

const GREEDY = '192.0.2.1'
const OTHER = '192.0.2.2'

test("Q4 C12 a user of one server does not wait behind another's thirty turns on another, and is told his place", async () => {
  const { upstream, a, b, join } = await startTwo({ LLM_CONCURRENCY: '2', LLM_QUEUE: '100' })
  let asking = 0
  let most = 0
  const asked: string[] = []
  let letGo: (() => void)[] = []
  upstream.always(async (answer, request) => {
    asked.push(String(request.body.messages.at(-1)?.content))
    most = Math.max(most, ++asking)
    answer.say('yes')
    await new Promise<void>((resolve) => letGo.push(resolve))
    asking--
    answer.finish()
  })
  const many = await Promise.all(
    Array.from({ length: 30 }, (_, n) => join(n % 2 === 0 ? a : b, `/ai-chat/greedy${n}`, GREEDY)),
  )
  const turns = await Promise.all(many.map((client, n) => say(client, `greedy${n}`)))
  await expect.poll(() => many.filter((client) => framesOf(client, 'queued').length > 0).length).toBe(28)
  await expect.poll(() => asking).toBe(2)
  const other = await join(b, '/ai-chat/other', OTHER)
  const turn = await say(other, 'other')
  // One of the greedy ones is before it.
  expect(await other.next('queued')).toEqual({ type: 'queued', turn_id: turn, position: 2 })
  for (const go of letGo.splice(0, 1)) go()
  await expect.poll(() => asked.length).toBe(3)
  // Every position changes by that; each is told it.
  expect(await other.next('queued')).toEqual({ type: 'queued', turn_id: turn, position: 1 })
  for (const go of letGo.splice(0, 1)) go()
  await other.next('ai_stream_chunk')
  expect(asked.indexOf('other')).toBe(3)
  upstream.always(async (answer, request) => {
    asked.push(String(request.body.messages.at(-1)?.content))
    most = Math.max(most, ++asking)
    answer.say('yes')
    await new Promise((resolve) => setImmediate(resolve))
    asking--
    answer.finish()
  })
  for (const go of letGo) go()
  letGo = []
  await Promise.all(many.map((client, n) => ended(client, turns[n] ?? '')))
  expect(most).toBe(2)
  expect(new Set(asked).size).toBe(31)
  expect(upstream.requests).toHaveLength(31)
}, 30_000)

test('Q4 C12 a user whose turns fill the queue on two servers shuts nobody out: his last ones end as model_busy, once', async () => {
  const { upstream, a, b, join } = await startTwo({ LLM_CONCURRENCY: '1', LLM_QUEUE: '6' })
  const gate = Promise.withResolvers<void>()
  upstream.always(async (answer) => {
    answer.say('yes')
    await gate.promise
    answer.finish()
  })
  const many: Client[] = []
  const turns: string[] = []
  for (let n = 0; n < 7; n++) {
    const client = await join(n % 2 === 0 ? a : b, `/ai-chat/greedy${n}`, GREEDY)
    many.push(client)
    turns.push(await say(client, `greedy${n}`))
    await client.next(n === 0 ? 'ai_stream_chunk' : 'queued')
  }
  // Who looks on from the other server.
  const watchers = await Promise.all([5, 6].map((n) => join(n % 2 === 0 ? b : a, `/ai-chat/greedy${n}`, GREEDY)))
  const late = await join(a, '/ai-chat/late', GREEDY)
  const refused = await ended(late, await say(late, 'late'))
  expect(refused).toMatchObject({ outcome: 'failed', error: { code: 'model_busy' } })
  const others = await Promise.all(['one', 'two'].map((name, n) => join(b, `/ai-chat/${name}`, `192.0.2.${n + 10}`)))
  const answers: string[] = []
  for (const [n, other] of others.entries()) {
    answers.push(await say(other, 'hello'))
    expect(await other.next('queued')).toMatchObject({ position: n + 2 })
  }
  for (const n of [5, 6]) {
    const end = await ended(many[n] ?? expect.unreachable(), turns[n] ?? '')
    expect(end).toMatchObject({ outcome: 'failed', error: { code: 'model_busy' } })
  }
  gate.resolve()
  for (const [n, other] of others.entries()) {
    expect(await ended(other, answers[n] ?? '')).toMatchObject({ outcome: 'completed' })
  }
  for (const n of [0, 1, 2, 3, 4]) {
    const end = await ended(many[n] ?? expect.unreachable(), turns[n] ?? '')
    expect(end).toMatchObject({ outcome: 'completed' })
  }
  for (const client of [...many, ...watchers]) expect(framesOf(client, 'ai_stream_end')).toHaveLength(1)
  expect(upstream.requests).toHaveLength(7)
})

test('Q5 what an address sends to one server counts on the other', async () => {
  const { a, b, join, redis } = await startTwo({ RATE_LIMIT_PER_IP: '1' })
  for (const server of [a, b]) {
    const client = await join(server, '/ws', GREEDY)
    client.send({ type: 'message', content: 'hello' })
    await client.next('echo')
    await expect.poll(async () => String(await redis.call('keys', 'sw:{rates-*'))).toContain(GREEDY)
  }
  const second = await join(b, '/ws', GREEDY)
  // A bucket of its own would have another token within a second.
  await expect
    .poll(async () => {
      second.send({ type: 'message', content: 'hello' })
      return (await second.next('error')).retry_after_ms
    })
    .toBeGreaterThan(1_000)
})

test('L4 the connections of a principal count over all servers', async () => {
  const { a, b, join } = await startTwo({ MAX_CONNECTIONS_PER_PRINCIPAL: '2' })
  const first = await join(a, '/room/one?user=ann', GREEDY)
  await first.next('welcome')
  await (await join(b, '/room/one?user=ann', OTHER)).next('welcome')
  const reason = 'too many connections of this user'
  for (const server of [a, b]) {
    expect(await (await join(server, '/room/one?user=ann', GREEDY)).closed).toEqual({ code: 1008, reason })
  }
  await first.close()
  await expect
    .poll(async () => {
      const again = await join(b, '/room/one?user=ann', GREEDY)
      return Promise.race([again.closed.then(() => false), again.next('welcome').then(() => true)])
    })
    .toBe(true)
})

test('L4 Q5 addresses stand in names of keys in Redis only for as long as README.md says, and never in a log', async () => {
  const { redis, a, b, join } = await startTwo({ MAX_CONNECTIONS_PER_IP: '5', RATE_LIMIT_PER_IP: '1' })
  const keys = async () => ((await redis.call('keys', '*')) as string[]).map((key) => key.replace(/\{\w+-\d+\}/, '{}'))
  const named = async () => (await keys()).filter((key) => key.includes(GREEDY)).sort()
  const clients = [await join(a, '/chat/one', GREEDY), await join(b, '/chat/one', GREEDY)]
  const [client] = clients as [Client, Client]
  const turn = await say(client, 'hello')
  const both = () => {
    // A bucket is there for a second after a frame.
    client.send({ type: 'typing' })
    return named()
  }
  await expect.poll(both, { timeout: 5_000 }).toEqual([`sw:{}:address:${GREEDY}`, `sw:{}:of:connections:${GREEDY}`])
  await ended(client, turn)
  const log = JSON.stringify(await redis.call('xrange', 'sw:{chat/one}:log', '-', '+'))
  expect(log).toContain('hello')
  expect(log).not.toContain(GREEDY)
  for (const each of clients) await each.close()
  await expect.poll(named, { timeout: 5_000 }).toEqual([])
})

test('L4 Q5 without such limits no address is in Redis', async () => {
  const { redis, a, join } = await startTwo({})
  const client = await join(a, '/chat/one', GREEDY)
  await ended(client, await say(client, 'hello'))
  const keys = (await redis.call('keys', '*')) as string[]
  expect(keys).not.toHaveLength(0)
  expect(keys.filter((key) => key.includes(GREEDY))).toEqual([])
})
