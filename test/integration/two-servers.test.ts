import { describe, expect, onTestFinished, test } from 'vitest'
import { createTimerWheel } from '../../src/actor/timer-wheel.ts'
import type { Coordination } from '../../src/coordination/coordination.ts'
import { createLocalCoordination } from '../../src/coordination/local-coordination.ts'
import { openRedisCoordination } from '../../src/coordination/redis-coordination.ts'
import type { ChannelLog } from '../../src/log/channel-log.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { openRedisLog } from '../../src/log/redis-log.ts'
import { ended, say } from '../support/chat-server.ts'
import { type Client, connect, type Frame, textsOf } from '../support/client.ts'
import { startRedis } from '../support/redis.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { startUpstream } from '../support/upstream.ts'

const STORES = ['memory', 'Redis'] as const
/** A race is lost now and then only. */
const ROUNDS = 25

/** Opens the log and the coordination of one more server; both of a kind share what is in them. */
async function openParts(store: (typeof STORES)[number]) {
  if (store === 'Redis') {
    const redis = await startRedis()
    onTestFinished(() => redis.close())
    const { url } = redis
    return async () => ({
      log: await openRedisLog({ url, ttlMs: 60_000, waitReplicas: 0 }),
      coordination: await openRedisCoordination({ url }),
    })
  }
  const inner = createMemoryLog()
  // Either server may stop first.
  const log: ChannelLog = { ...inner, close: async () => {} }
  const coordination: Coordination = createLocalCoordination(createTimerWheel(() => {}))
  return async () => ({ log, coordination })
}

/** Two servers that share a log and a coordination, as the processes of a deployment do. */
async function startTwo(store: (typeof STORES)[number]) {
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const open = await openParts(store)
  const lost: (() => void)[] = []
  /** On whose behalf each server asked for a place at the model. */
  const keys: string[][] = []
  const env = { OPENAI_BASE_URL: upstream.baseUrl, MODEL: 'test' }
  const start = async () => {
    const { log, coordination } = await open()
    const own: string[] = []
    keys.push(own)
    return startServer(env, {
      log,
      coordination: {
        ...coordination,
        queue(name, limits) {
          const queue = coordination.queue(name, limits)
          return {
            ...queue,
            request(key, waiter) {
              own.push(key)
              return queue.request(key, waiter)
            },
          }
        },
        async lease(name, onLost) {
          const lease = await coordination.lease(name, onLost)
          if (lease === undefined) return undefined
          lost.push(() => {
            lease.release()
            onLost()
          })
          return { ...lease, mayBeBehind: true, release: () => lease.release() }
        },
      },
    })
  }
  const [a, b] = [await start(), await start()]
  const join = (server: TestServer): Promise<Client> => connect(`${server.url}/ai-chat/one`)
  return { upstream, a, b, join, lost, keys }
}

describe.each(STORES)('over %s', (store) => {
  test('C4 a turn of one server is seen live by the members of another', async () => {
    const { upstream, a, b, join } = await startTwo(store)
    const [first, second] = [await join(a), await join(b)]
    const answer = upstream.hold()
    const turn = await say(first, 'hello')
    await answer.requested
    answer.say('one ')
    await second.next('ai_stream_chunk')
    answer.say('two')
    answer.finish()
    await Promise.all([ended(first, turn), ended(second, turn)])
    expect(textsOf(second.frames).get(turn)).toBe('one two')
    expect(upstream.requests).toHaveLength(1)
  })

  test('C6 stop on one server ends the turn that another runs, its request to the model included', async () => {
    const { upstream, a, b, join } = await startTwo(store)
    const [first, second] = [await join(a), await join(b)]
    const answer = upstream.hold()
    const turn = await say(first, 'hello')
    const { over } = await answer.requested
    answer.say('one ')
    await second.next('ai_stream_chunk')
    second.send({ type: 'stop' })
    expect(await over).toBe('aborted')
    expect(await first.next('ai_stream_end')).toMatchObject({ turn_id: turn, outcome: 'stopped' })
  })

  test('C6 stop on one server ends a turn that waits behind one that another runs', async () => {
    const { upstream, a, b, join } = await startTwo(store)
    const [first, second] = [await join(a), await join(b)]
    const answer = upstream.hold()
    const running = await say(first, 'hello')
    await answer.requested
    const waiting = await say(second, 'next')
    second.send({ type: 'stop', turn_id: waiting })
    expect(await second.next('ai_stream_end')).toMatchObject({ turn_id: waiting, outcome: 'stopped' })
    answer.finish()
    expect(await ended(first, running)).toMatchObject({ outcome: 'completed' })
    expect(upstream.requests).toHaveLength(1)
  })

  test('C5 C7 messages of both servers are answered in order, by one server at a time, and an id counts on both', async () => {
    const { upstream, a, b, join } = await startTwo(store)
    const [first, second] = [await join(a), await join(b)]
    const turns: string[] = []
    for (let i = 0; i < 6; i++) {
      const [sender, id] = [i % 2 === 0 ? first : second, `id-${i}`]
      sender.send({ type: 'user_message', content: `message ${i}`, id })
      turns.push(String((await sender.next('user_message', (frame) => frame.id === id)).turn_id))
    }
    await ended(first, turns[5] ?? '')
    second.send({ type: 'user_message', content: 'message 0', id: 'id-0' })
    expect(await second.next('user_message', ({ id }) => id === 'id-0')).toMatchObject({ turn_id: turns[0] })
    expect(upstream.requests).toHaveLength(6)
    const ends = first.frames.filter(({ type }) => type === 'ai_stream_end').map(({ turn_id }) => turn_id)
    expect(ends).toEqual(turns)
  })

  test('C1 C5 C9 members of both servers who speak at once in a new chat are all heard, in one conversation', async () => {
    const { upstream, a, b } = await startTwo(store)
    for (let round = 0; round < ROUNDS; round++) {
      const path = `/ai-chat/round-${round}`
      const clients = [await connect(`${a.url}${path}`), await connect(`${b.url}${path}`)]
      for (const [n, client] of clients.entries())
        client.send({ type: 'user_message', content: `from ${n}`, id: `${n}` })
      const acknowledged = clients.map((client, n) => client.next('user_message', ({ id }) => id === `${n}`))
      const messages = await Promise.all(acknowledged)
      expect(new Set(messages.map(({ conversation_id }) => conversation_id)).size).toBe(1)
      expect(messages[0]?.offset).not.toBe(messages[1]?.offset)
      // Of the other's turn, one whose server was not the first may get the whole by a fresh `history` (G8).
      for (const [n, client] of clients.entries()) await ended(client, String(messages[n]?.turn_id))
      for (const client of clients) client.cut()
    }
    expect(upstream.requests).toHaveLength(2 * ROUNDS)
  })

  test("C12 each member is told a waiting turn's place once, on whichever server", async () => {
    const { upstream, a, b, join } = await startTwo(store)
    const [first, second] = [await join(a), await join(b)]
    const answer = upstream.hold()
    const running = await say(first, 'hello')
    await answer.requested
    const waiting = await say(second, 'next')
    for (const client of [first, second]) {
      expect(await client.next('queued')).toEqual({ type: 'queued', turn_id: waiting, position: 1 })
    }
    answer.finish()
    await Promise.all([ended(first, running), ended(second, running)])
    await Promise.all([ended(first, waiting), ended(second, waiting)])
    for (const { frames } of [first, second]) expect(frames.filter(({ type }) => type === 'queued')).toHaveLength(1)
  })

  test('R1 R2 R3 a room has the members of both servers: presence, joins, typing, messages, leaves once', async () => {
    const { a, b } = await startTwo(store)
    const room = (server: TestServer) => connect(`${server.url}/room/one`)
    const first = await room(a)
    const { connection_id: one } = await first.next('welcome')
    await first.next('presence')
    // The first entry fixes the log's epoch: who joined another server before it would begin anew (G14).
    first.send({ type: 'message', content: 'first' })
    await first.next('message')
    const second = await room(b)
    const { connection_id: two } = await second.next('welcome')
    expect((await second.next('presence')).members).toEqual([{ client_id: one }, { client_id: two }])
    expect(await first.next('user_joined')).toMatchObject({ client_id: two })
    second.send({ type: 'typing' })
    expect(await first.next('typing')).toEqual({ type: 'typing', client_id: two })
    second.send({ type: 'message', content: 'hello' })
    const isHello = ({ content }: Frame) => content === 'hello'
    const message = await second.next('message', isHello)
    expect(await first.next('message', isHello)).toEqual(message)
    second.cut()
    expect(await first.next('user_left')).toMatchObject({ client_id: two })
    first.send({ type: 'ping' })
    await first.next('pong')
    for (const type of ['user_joined', 'typing', 'user_left']) {
      expect(first.frames.filter((frame) => frame.type === type)).toHaveLength(1)
    }
  })

  test('C14 a turn whose lease is lost ends as interrupted by another server, its shown text unchanged', async () => {
    const { upstream, a, b, join, lost } = await startTwo(store)
    const [first, second] = [await join(a), await join(b)]
    const answer = upstream.hold()
    const turn = await say(first, 'hello')
    const { over } = await answer.requested
    answer.say('one ')
    await Promise.all([first.next('ai_stream_chunk'), second.next('ai_stream_chunk')])
    for (const lose of lost) lose()
    expect(await over).toBe('aborted')
    for (const client of [first, second]) {
      expect(await ended(client, turn)).toMatchObject({ outcome: 'interrupted' })
      expect(textsOf(client.frames).get(turn)).toBe('one ')
      expect(client.frames.filter(({ type }) => type === 'ai_stream_end')).toHaveLength(1)
    }
  })

  test('C14 a turn without any delta whose lease is lost runs again, once', async () => {
    const { upstream, a, join, lost } = await startTwo(store)
    const first = await join(a)
    const [one, two] = [upstream.hold(), upstream.hold()]
    const turn = await say(first, 'hello')
    await one.requested
    for (const lose of lost.splice(0)) lose()
    await two.requested
    two.say('at last')
    two.finish()
    expect(await ended(first, turn)).toMatchObject({ outcome: 'completed' })
    expect(textsOf(first.frames).get(turn)).toBe('at last')
    expect(upstream.requests).toHaveLength(2)
  })

  test('Q4 a turn that another server runs than the one that got its message counts as the same user', async () => {
    const { upstream, a, b, join, keys } = await startTwo(store)
    const [first, second] = [await join(a), await join(b)]
    const answer = upstream.hold()
    const [running, waiting] = [await say(first, 'hello'), await say(first, 'and more')]
    await answer.requested
    // Live, or in the history of a log whose epoch it had proposed otherwise (G14).
    await expect.poll(() => JSON.stringify(second.frames)).toContain(waiting)
    await a.stop()
    expect(await ended(second, running)).toMatchObject({ outcome: 'interrupted' })
    expect(await ended(second, waiting)).toMatchObject({ outcome: 'completed' })
    second.send({ type: 'regenerate' })
    await second.next('ai_stream_end')
    const [ofA, ofB] = keys
    expect(ofA).toHaveLength(1)
    expect(ofB).toEqual([ofA?.[0], ofA?.[0]])
    // Some 16,000 addresses have it.
    expect(ofA?.[0]).toMatch(/^[\w-]{3}$/)
  })
})

// A log in memory is one process's, and has one proposal.
test('G14 G5 of an empty channel each server proposes an epoch; the first entry settles it, and who was told another one loses nothing', async () => {
  const { a, b, join } = await startTwo('Redis')
  const [first, second, third] = [await join(a), await join(b), await join(b)]
  const [settled, proposed] = [await first.next('welcome'), await second.next('welcome')]
  expect(proposed.epoch).not.toBe(settled.epoch)
  for (const client of [second, third]) await client.next('history')
  expect(third.resumeQuery).toBe(`?epoch=${proposed.epoch}&offset=0`)
  third.cut()

  const turn = await say(first, 'hello')
  await ended(first, turn)
  const { epoch } = settled
  // Who is there begins anew, by a history or from its first frame on.
  expect(await second.next('welcome', (frame) => frame.epoch === epoch)).toMatchObject({ resumed: false, offset: 0 })
  const shown = (client: Client) => client.frames.filter(({ offset, type }) => type !== 'welcome' && Number(offset) > 0)
  await expect.poll(() => shown(second).at(-1)?.offset).toBe(shown(first).at(-1)?.offset)
  expect(textsOf(second.frames).get(turn)).toBe(textsOf(first.frames).get(turn))

  for (const { url } of [a, b]) {
    const returned = await connect(`${url}/ai-chat/one${third.resumeQuery}`)
    expect(await returned.next('welcome')).toMatchObject({ epoch, resumed: true, offset: 0 })
    await ended(returned, turn)
    expect(textsOf(returned.frames).get(turn)).toBe(textsOf(first.frames).get(turn))
    expect(shown(returned)[0]).toEqual(shown(first)[0])
    expect(shown(returned).at(-1)).toEqual(shown(first).at(-1))
  }
})
