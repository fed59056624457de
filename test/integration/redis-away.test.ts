import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { CLOSES } from '../../src/protocol/close-codes.ts'
import type { ServerParts } from '../../src/server-parts.ts'
import { ended, say, settled } from '../support/chat-server.ts'
import { type Client, connect, textsOf } from '../support/client.ts'
import { type RedisProcess, startRedis, until } from '../support/redis.ts'
import { type Env, startServer, type TestServer } from '../support/server.ts'
import { startUpstream } from '../support/upstream.ts'

/** Within what time users are told, in ms. */
const TOLD_MS = 1_000
/** For how long Redis's calls are counted, in ms, and how many two nodes may make meanwhile for what they always do. */
const WATCHED_MS = 2_000
const MOST_CALLS = 400
/** In what time what was asked of a frozen Redis has failed, in ms. The lease of a turn outlives it. */
const FAILED_MS = 1_400
/** A pause of Redis that nobody is told of, in ms. */
const SHORT_MS = 300

/** Two servers over one Redis, `a` with the parts, each with a member of one chat, and an answer of `a` that the test dictates. */
async function startTwo(parts: ServerParts = {}, more: Env = {}) {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const env = { REDIS_URL: redis.url, OPENAI_BASE_URL: upstream.baseUrl, MODEL: 'test', ...more }
  const [a, b] = [await startServer(env, parts), await startServer(env)]
  const join = (server: TestServer, name = 'one') => connect(`${server.url}/ai-chat/${name}`)
  const [first, second] = [await join(a), await join(b)]
  // A connection that is open has not joined yet.
  await Promise.all([first, second].map((client) => client.next('history')))
  return { redis, upstream, a, b, join, first, second, members: [first, second] as const }
}

/** Begins an answer whose first word both have been shown. */
async function beginAnswer({ upstream, first, second }: Awaited<ReturnType<typeof startTwo>>) {
  const answer = upstream.hold()
  const turn = await say(first, 'hello')
  const { over } = await answer.requested
  answer.say('one ')
  await Promise.all([first, second].map((client) => client.next('ai_stream_chunk')))
  return { answer, turn, over }
}

const stalled = (client: Client) => client.frames.filter(({ code }) => code === 'stalled')
const told = (client: Client, turn: string) => client.next('error', (frame) => frame.turn_id === turn)

async function woken(redis: RedisProcess, servers: readonly TestServer[]) {
  redis.wake()
  for (const server of servers) await until(async () => (await server.readiness()) === undefined)
}

test('C18 Redis freezes while an answer streams: the members of every server are told within a second, once, and then its end', async () => {
  const two = await startTwo()
  const { redis, a, b, members } = two
  const { answer, turn, over } = await beginAnswer(two)
  redis.freeze()
  const begin = performance.now()
  answer.say('two ')
  for (const frame of await Promise.all(members.map((client) => told(client, turn))))
    expect(frame).toMatchObject({ code: 'stalled', turn_id: turn })
  expect(performance.now() - begin).toBeLessThan(TOLD_MS)
  // The turn gives up what it could not save in time.
  await over
  await woken(redis, [a, b])
  for (const client of members) {
    expect(await ended(client, turn)).toMatchObject({ outcome: expect.stringMatching(/^(failed|interrupted)$/) })
    expect(stalled(client)).toHaveLength(1)
  }
})

test('C18 an answer that says nothing while Redis is frozen goes on afterwards; its members were told all the same', async () => {
  const two = await startTwo()
  const { redis, a, b, members } = two
  const { answer, turn } = await beginAnswer(two)
  redis.freeze()
  await Promise.all(members.map((client) => told(client, turn)))
  await woken(redis, [a, b])
  answer.say('two')
  answer.finish()
  for (const client of members) {
    expect(await ended(client, turn)).toMatchObject({ outcome: 'completed', metadata: { total_words: 2 } })
    expect(stalled(client)).toHaveLength(1)
  }
})

test('C18 nobody is told of a pause of Redis that is over soon', async () => {
  const two = await startTwo()
  const { redis, members } = two
  const { answer, turn } = await beginAnswer(two)
  redis.freeze()
  await new Promise((resolve) => setTimeout(resolve, SHORT_MS))
  redis.wake()
  answer.say('two')
  answer.finish()
  for (const client of members) {
    expect(await ended(client, turn)).toMatchObject({ outcome: 'completed' })
    expect(stalled(client)).toEqual([])
  }
})

test('C18 Redis refuses what an answer says: the members of every server are told, once, and its end when it takes it', async () => {
  const two = await startTwo()
  const { redis, members } = two
  const { answer, turn } = await beginAnswer(two)
  await redis.call('config', 'set', 'maxmemory', '1')
  const begin = performance.now()
  answer.say('two ')
  await Promise.all(members.map((client) => told(client, turn)))
  expect(performance.now() - begin).toBeLessThan(TOLD_MS)
  await redis.call('config', 'set', 'maxmemory', '0')
  for (const client of members) {
    expect(await ended(client, turn)).toMatchObject({ outcome: 'failed', error: { code: 'storage' } })
    expect(stalled(client)).toHaveLength(1)
  }
})

test('C18 the end of an answer cannot be written: its members are told that it stands still', async () => {
  const two = await startTwo()
  const { redis, members, first } = two
  const { turn } = await beginAnswer(two)
  await redis.call('config', 'set', 'maxmemory', '1')
  first.send({ type: 'stop' })
  await Promise.all(members.map((client) => told(client, turn)))
  await redis.call('config', 'set', 'maxmemory', '0')
  for (const client of members) expect(await ended(client, turn)).toMatchObject({ outcome: 'stopped' })
})

test('C18 a turn cannot be begun, for a lease of the wrong type: its members are told, once, and its answer when it can', async () => {
  const { redis, upstream, first, second } = await startTwo()
  await redis.call('hset', 'sw:{ai-chat/one}:lease', 'damage', '')
  const answer = upstream.hold()
  const turn = await say(first, 'hello')
  await Promise.all([first, second].map((client) => told(client, turn)))
  await redis.call('del', 'sw:{ai-chat/one}:lease')
  await answer.requested
  answer.say('here')
  answer.finish()
  for (const client of [first, second]) {
    expect(await ended(client, turn)).toMatchObject({ outcome: 'completed' })
    expect(stalled(client)).toHaveLength(1)
  }
})

test('C14 a turn whose end can be written and not seen, for a key of the wrong type, is tried again in a while, not without a pause', async () => {
  const two = await startTwo()
  const { redis, first } = two
  const { turn } = await beginAnswer(two)
  await redis.call('del', 'sw:{ai-chat/one}:ended')
  await redis.call('set', 'sw:{ai-chat/one}:ended', 'damage')
  first.send({ type: 'stop' })
  await told(first, turn)
  await redis.call('config', 'resetstat')
  await new Promise((resolve) => setTimeout(resolve, WATCHED_MS))
  const calls = Number(/cmdstat_evalsha:calls=(\d+)/.exec(String(await redis.call('info', 'commandstats')))?.[1])
  expect(calls).toBeLessThan(MOST_CALLS)
})

test('L4 who joins while Redis does not answer is closed with 1013 and may come again; who speaks is refused within a second', async () => {
  const { redis, a, b, join, second } = await startTwo()
  redis.freeze()
  const begin = performance.now()
  const joining = await join(a, 'other')
  second.send({ type: 'user_message', content: 'hello', id: 'm' })
  expect(await second.next('error')).toMatchObject({ code: 'storage', id: 'm' })
  expect(await joining.closed).toEqual({ code: CLOSES.unread.code, reason: CLOSES.unread.reason })
  expect(performance.now() - begin).toBeLessThan(TOLD_MS)
  await woken(redis, [a, b])
  await (await join(a, 'other')).next('history')
})

test('C18 members who speak while Redis is frozen are all refused within a second, in a chat and in a room; those who come later, too', async () => {
  const { redis, a } = await startTwo()
  for (const [route, type] of [
    ['ai-chat', 'user_message'],
    ['room', 'message'],
  ] as const) {
    const members = await Promise.all(Array.from({ length: 5 }, () => connect(`${a.url}/${route}/many`)))
    await Promise.all(members.map((client) => client.next(route === 'room' ? 'presence' : 'history')))
    redis.freeze()
    for (const later of [0, 1]) {
      const begin = performance.now()
      for (const [n, client] of members.entries()) client.send({ type, content: 'hello', id: `${later}-${n}` })
      await Promise.all(members.map((client) => client.next('error', ({ code }) => code === 'storage')))
      expect(performance.now() - begin).toBeLessThan(TOLD_MS)
    }
    await woken(redis, [a])
    members[0]?.send({ type, content: 'hello', id: '0-0' })
    expect(await members[1]?.next(type)).toMatchObject({ id: '0-0' })
  }
})

test('C6 a stop on one server while Redis is frozen holds when it is back, for the turn that the other runs', async () => {
  const two = await startTwo()
  const { redis, a, b, first, second, members } = two
  const { turn, over } = await beginAnswer(two)
  redis.freeze()
  await Promise.all(members.map((client) => told(client, turn)))
  for (let press = 0; press < 3; press++) {
    second.send({ type: 'stop' })
    await settled(second)
  }
  // The first has failed by the time that this has.
  second.send({ type: 'user_message', content: 'hello', id: 'm' })
  expect(await second.next('error')).toMatchObject({ code: 'storage', id: 'm' })
  // Who asked may go: the stop holds all the same.
  await second.close()
  await woken(redis, [a, b])
  expect(await ended(first, turn)).toMatchObject({ outcome: 'stopped', metadata: { total_words: 1 } })
  expect(await over).toBe('aborted')
  expect(stalled(first)).toHaveLength(1)
})

test('L8 C6 a server that drains stays until the stop is saved that it alone knows of', async () => {
  const two = await startTwo({}, { DRAIN_MS: '10000' })
  const { redis, a, b, first, second } = two
  const { turn } = await beginAnswer(two)
  redis.freeze()
  second.send({ type: 'stop' })
  await settled(second)
  const stopping = b.stop()
  await new Promise((resolve) => setTimeout(resolve, FAILED_MS))
  await woken(redis, [a])
  expect(await ended(first, turn)).toMatchObject({ outcome: 'stopped' })
  await stopping
})

test('C6 a stop that Redis refuses holds when it takes it again; members of every server are told meanwhile', async () => {
  const two = await startTwo()
  const { redis, second, members } = two
  const { turn, over } = await beginAnswer(two)
  await redis.call('config', 'set', 'maxmemory', '1')
  second.send({ type: 'stop', turn_id: turn })
  await Promise.all(members.map((client) => told(client, turn)))
  await redis.call('config', 'set', 'maxmemory', '0')
  for (const client of members) {
    expect(await ended(client, turn)).toMatchObject({ outcome: 'stopped' })
    expect(stalled(client)).toHaveLength(1)
  }
  expect(await over).toBe('aborted')
})

test('C6 a stop that could not be saved is dropped where the answer has ended by itself', async () => {
  const two = await startTwo()
  const { redis, upstream, a, b, second, members } = two
  const { answer, turn, over } = await beginAnswer(two)
  redis.freeze()
  second.send({ type: 'stop' })
  await told(second, turn)
  answer.say('two')
  // The turn gives up what it could not save in time.
  await over
  await woken(redis, [a, b])
  for (const client of members) await ended(client, turn)
  const next = upstream.hold()
  const after = await say(second, 'and on')
  await next.requested
  next.finish()
  expect(await ended(second, after)).toMatchObject({ outcome: 'completed' })
})

test('C18 who joins a chat while Redis is frozen is welcomed by a server that has it, and told that its answer stands still', async () => {
  const two = await startTwo()
  const { redis, a, b, join, members } = two
  const { answer, turn } = await beginAnswer(two)
  redis.freeze()
  await Promise.all(members.map((client) => told(client, turn)))
  const joiners = [await join(a), await join(b)]
  for (const client of joiners) expect(await told(client, turn)).toMatchObject({ code: 'stalled' })
  await woken(redis, [a, b])
  answer.say('two')
  const later = await join(a)
  answer.finish()
  for (const client of [...members, ...joiners]) {
    expect(await ended(client, turn)).toMatchObject({ outcome: 'completed' })
    expect(stalled(client)).toHaveLength(1)
  }
  expect(textsOf(later.frames).get(turn)).toContain('one')
  expect(stalled(later)).toEqual([])
})

test('a Redis that is frozen for many who speak and join is a line of the log for each of both, not for each of them', async () => {
  const lines: { level: number; msg: string; err?: { message: string } }[] = []
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const { redis, a, join } = await startTwo({ logger })
  const rooms = await Promise.all([0, 1, 2].map((n) => connect(`${a.url}/room/${n}`)))
  const chats = await Promise.all([0, 1, 2].map((n) => join(a, `${n}`)))
  await Promise.all([
    ...rooms.map((client) => client.next('presence')),
    ...chats.map((client) => client.next('history')),
  ])
  redis.freeze()
  for (let time = 0; time < 2; time++) {
    const joining = await Promise.all([0, 1, 2].map((n) => join(a, `new-${n}`)))
    for (const client of rooms) client.send({ type: 'message', content: 'hello' })
    for (const client of chats) client.send({ type: 'user_message', content: 'hello' })
    await Promise.all([...rooms, ...chats].map((client) => client.next('error')))
    await Promise.all(joining.map(({ closed }) => closed))
  }
  await woken(redis, [a])
  const reasons = (msg: string) => lines.filter((line) => line.msg === msg).map(({ err }) => err?.message)
  for (const msg of ['a frame could not be written', 'connections are closed: the log cannot be reached']) {
    expect(reasons(msg)[0]).toContain('Redis did not answer in time')
    expect(new Set(reasons(msg)).size).toBe(reasons(msg).length)
  }
  expect(reasons('a connection could not be joined')).toEqual([])
})
