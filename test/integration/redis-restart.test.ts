import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { keysOf } from '../../src/log/redis-keys.ts'
import { ask, ended, framesOf, say, settled } from '../support/chat-server.ts'
import { connect, textsOf } from '../support/client.ts'
import { startRedis, until } from '../support/redis.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { startUpstream } from '../support/upstream.ts'
import { createWitness, watch } from '../support/witness.ts'

/** Two servers over one Redis that saves each write, a member of one chat on each, and witnesses of what they are shown. */
async function startTwo() {
  const redis = await startRedis({ durable: true })
  onTestFinished(() => redis.close())
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const env = { REDIS_URL: redis.url, OPENAI_BASE_URL: upstream.baseUrl, MODEL: 'test' }
  const servers = [await startServer(env), await startServer(env)] as const
  const join = async (server: TestServer, query = '', witness = createWitness()) => {
    const client = await connect(`${server.url}/ai-chat/one${query}`)
    const watched = watch(client, witness)
    await client.next('welcome')
    return { client, watched, witness }
  }
  const members = [await join(servers[0]), await join(servers[1])] as const
  await Promise.all(members.map(({ client }) => client.next('history')))
  return { redis, upstream, servers, join, members }
}

type Two = Awaited<ReturnType<typeof startTwo>>

async function restart({ redis, servers }: Two) {
  await redis.kill()
  await redis.restart()
  for (const server of servers) await until(async () => (await server.readiness()) === undefined)
}

test('G8 Redis is restarted with all it had: its epoch is another, and everybody goes on from where he was', async () => {
  const two = await startTwo()
  const { servers, join, members } = two
  const [first, second] = members
  const one = await ask(first.client, 'one')
  await ended(second.client, one)
  const before = { ...first.client.position }
  await restart(two)
  const turn = await ask(second.client, 'two')
  await ended(first.client, turn)
  for (const { client, witness } of members) {
    const later = framesOf(client, 'welcome').filter(({ epoch }) => epoch === client.position.epoch)
    expect(later).toMatchObject([{ resumed: true, offset: before.offset }])
    expect(client.position.epoch).not.toBe(before.epoch)
    expect([...textsOf(client.frames).keys()]).toEqual([one, turn])
    expect(witness.offset).toBeGreaterThan(before.offset)
  }
  first.witness.compare(second.witness)
  // Who had been away all the time goes on, too: from that epoch, and from this one.
  for (const query of [`?epoch=${before.epoch}&offset=${before.offset}`, second.client.resumeQuery]) {
    for (const server of servers) {
      const { client } = await join(server, query)
      expect(framesOf(client, 'welcome')[0]).toMatchObject({ resumed: true, epoch: second.client.position.epoch })
    }
  }
})

test('G8 C14 another master with all that had been said takes over in mid-answer: the answer goes on, and stands whole for all', async () => {
  const two = await startTwo()
  const { redis, upstream, join, servers, members } = two
  const [first, second] = members
  const answer = upstream.hold()
  const turn = await say(first.client, 'hello')
  await answer.requested
  answer.say('one ')
  await Promise.all(members.map(({ client }) => client.next('ai_stream_chunk')))
  const { epoch } = first.client.position
  await redis.call('hset', keysOf('ai-chat/one').meta, 'store', 'another')
  answer.say('two ')
  await Promise.all(members.map(({ client }) => client.next('welcome', (frame) => frame.epoch !== epoch)))
  answer.say('three')
  answer.finish()
  for (const { client } of members) {
    expect(await ended(client, turn)).toMatchObject({ outcome: 'completed' })
    expect(textsOf(client.frames).get(turn)).toBe('one two three')
    const later = framesOf(client, 'welcome').filter((frame) => frame.epoch === client.position.epoch)
    expect(later).toMatchObject([{ resumed: true }])
  }
  first.witness.compare(second.witness)
  // Nobody asked the model again.
  expect(upstream.requests).toHaveLength(1)
  const late = await join(servers[1])
  await settled(late.client)
  expect(late.witness.turns.get(turn)?.text).toBe('one two three')
})

test('G5 G8 who was away while a failover lost what he held begins anew, though the log is longer than his by now', async () => {
  const two = await startTwo()
  const { redis, join, servers, members } = two
  const [first, second] = members
  const kept = await ask(first.client, 'kept')
  await ended(second.client, kept)
  const place = { ...first.client.position }
  const lost = await ask(first.client, 'lost')
  const away = { ...first.client.position }
  first.client.cut()
  second.client.cut()
  const { meta, log, ids } = keysOf('ai-chat/one')
  const entries = (await redis.call('xrange', log, `(${place.offset}-0`, '+')) as [string, string[]][]
  for (const [id] of entries) await redis.call('xdel', log, id)
  await redis.call('del', ids)
  await redis.call('xsetid', log, `${place.offset}-0`)
  await redis.call('hset', meta, 'head', place.offset, 'shown', place.offset, 'judged', 1, 'store', 'another')

  // A node that knows of nothing that was lost.
  const fresh = await startServer({ REDIS_URL: redis.url, OPENAI_BASE_URL: two.upstream.baseUrl, MODEL: 'test' })
  const late = await join(fresh)
  for (let n = 0; late.witness.offset <= away.offset; n++) await ask(late.client, `more ${n}`)
  for (const server of [...servers, fresh]) {
    const back = await join(server, `?epoch=${away.epoch}&offset=${away.offset}`)
    expect(framesOf(back.client, 'welcome')[0]).toMatchObject({ resumed: false, offset: 0 })
    await settled(back.client)
    expect([...back.witness.turns.keys()]).not.toContain(lost)
    const held = await join(server, `?epoch=${place.epoch}&offset=${place.offset}`)
    expect(framesOf(held.client, 'welcome')[0]).toMatchObject({ resumed: true, offset: place.offset })
  }
})

test('G3 G8 C14 a failover that lost that the model was asked: it is asked again, and whoever joins gets all of the text', async () => {
  const two = await startTwo()
  const { redis, upstream, join, servers, members } = two
  const [first] = members
  const [, again] = [upstream.hold(), upstream.hold()]
  const turn = await say(first.client, 'hello')
  await first.client.next('typing')
  const { meta, log, ids } = keysOf('ai-chat/one')
  await until(async () => Number(await redis.call('hget', meta, 'head')) === 3)
  const { epoch } = first.client.position
  await redis.call('multi')
  for (const offset of [2, 3]) await redis.call('xdel', log, `${offset}-0`)
  await redis.call('xsetid', log, '1-0')
  await redis.call('hdel', ids, JSON.stringify([`turn:${turn}`, 'typing']), JSON.stringify([`turn:${turn}:1`]))
  await redis.call('hset', meta, 'head', 1, 'shown', 1, 'store', 'another')
  await redis.call('exec')
  await again.requested
  again.say('one ')
  await Promise.all(
    members.map(({ watched, witness }) => watched.until(() => witness.turns.get(turn)?.text === 'one ')),
  )
  const late = await join(servers[1])
  await late.watched.until(() => late.witness.turns.get(turn)?.text === 'one ')
  again.say('two')
  again.finish()
  for (const { client, watched, witness } of [...members, late]) {
    await watched.until(() => witness.turns.get(turn)?.outcome !== undefined)
    expect(witness.turns.get(turn)).toMatchObject({ outcome: 'completed', text: 'one two' })
    expect(client.position.epoch).not.toBe(epoch)
  }
})

test('G8 a replica that had heard of nothing is promoted, whose epoch was over for all others: what is sent is judged by what is there', async () => {
  const { redis, members } = await startTwo()
  const [{ client }] = members
  await ask(client, 'one')
  const { meta, log, ids, ended: ends } = keysOf('ai-chat/one')
  const raw = new Redis(redis.port, '127.0.0.1')
  onTestFinished(() => raw.disconnect())
  const all = [meta, log, ids, ends]
  const before = await Promise.all(all.map((key) => raw.dumpBuffer(key)))
  await raw.hset(meta, 'store', 'another')
  await ask(client, 'two')
  const { epoch } = client.position
  const back = raw.multi()
  for (const [at, key] of all.entries()) back.restore(key, 0, before[at] as Buffer, 'REPLACE')
  await back.hset(meta, 'store', 'a third').exec()
  await ask(client, 'three', { id: 'c' })
  expect(framesOf(client, 'error')).toEqual([])
  expect(client.position.epoch).not.toBe(epoch)
  expect(new Set(framesOf(client, 'welcome').map((frame) => frame.epoch)).size).toBe(3)
})
