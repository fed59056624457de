import { expect, onTestFinished, test } from 'vitest'
import { indexKey, keysOf } from '../../../src/log/redis-keys.ts'
import { ended, say } from '../../support/chat-server.ts'
import { connect, textsOf } from '../../support/client.ts'
import { startRedis, until } from '../../support/redis.ts'
import { startRedisProxy } from '../../support/redis-proxy.ts'
import { spawnServer } from '../../support/server.ts'
import { startUpstream } from '../../support/upstream.ts'
import { createWitness, watch } from '../../support/witness.ts'

/** From the death of a turn's owner to its end for everybody, SPEC.md C14: a lease of 3 s, and a second to look. */
const TAKEOVER_MS = 5_000

/** Two nodes as an operator starts them, over one Redis. */
async function startNodes() {
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const env = { REDIS_URL: redis.url, OPENAI_BASE_URL: upstream.baseUrl, MODEL: 'test' }
  const [a, b] = await Promise.all([spawnServer(env), spawnServer(env)])
  return { upstream, redis, a, b }
}

test('C14 a node is killed in mid-stream: interrupted on the other one, text unchanged, and regenerate works there', async () => {
  const { upstream, a, b } = await startNodes()
  const first = await connect(`${a.url}/ai-chat/one`)
  const answer = upstream.hold()
  const turn = await say(first, 'hello')
  const second = await connect(`${b.url}/ai-chat/one`)
  await answer.requested
  answer.say('as far ')
  answer.say('as here')
  await expect.poll(() => textsOf(second.frames).get(turn)).toBe('as far as here')
  const { resumeQuery } = first
  const killed = performance.now()
  await a.kill()
  expect(await ended(second, turn)).toMatchObject({ outcome: 'interrupted' })
  const took = performance.now() - killed
  console.log(`a dead node's turn was interrupted for the members of another after ${Math.round(took)} ms`)
  expect(took).toBeLessThan(TAKEOVER_MS)
  expect(textsOf(second.frames).get(turn)).toBe('as far as here')
  const returned = await connect(`${b.url}/ai-chat/one${resumeQuery}`)
  expect(await returned.next('welcome')).toMatchObject({ resumed: true })
  await ended(returned, turn)
  returned.send({ type: 'regenerate' })
  expect(await second.next('ai_stream_end')).toMatchObject({ outcome: 'completed' })
  expect(upstream.requests).toHaveLength(2)
})

test('C14 a node is killed before the first chunk: the other one runs the turn again, once, though nobody is attached', async () => {
  const { upstream, a, b } = await startNodes()
  const first = await connect(`${a.url}/ai-chat/one`)
  const [one, two] = [upstream.hold(), upstream.hold()]
  const turn = await say(first, 'hello')
  await one.requested
  await a.kill()
  await two.requested
  two.say('after all')
  two.finish()
  const later = await connect(`${b.url}/ai-chat/one?epoch=${first.position.epoch}&offset=${first.position.offset}`)
  expect(await ended(later, turn)).toMatchObject({ outcome: 'completed' })
  expect(textsOf(later.frames).get(turn)).toBe('after all')
  expect(upstream.requests).toHaveLength(2)
})

test('C14 while a turn runs, its node says so again and again, and no other takes it up', async () => {
  const { upstream, redis, a, b } = await startNodes()
  const client = await connect(`${a.url}/ai-chat/one`)
  const answer = upstream.hold()
  const turn = await say(client, 'hello')
  await answer.requested
  const index = indexKey('turns', 'ai-chat/one')
  for (let time = 0; time < 3; time++) {
    const noted = Number(await redis.call('zscore', index, 'ai-chat/one'))
    await until(async () => Number(await redis.call('zscore', index, 'ai-chat/one')) > noted)
  }
  answer.say('after a while')
  answer.finish()
  expect(await ended(client, turn)).toMatchObject({ outcome: 'completed' })
  expect([...a.lines, ...b.lines].filter((line) => line.includes('taking up'))).toEqual([])
})

test('C14 a node that is frozen beyond its lease and woken writes nothing more, and asks the model nothing', async () => {
  const { upstream, a, b } = await startNodes()
  const first = await connect(`${a.url}/ai-chat/one`)
  const answer = upstream.hold()
  const turn = await say(first, 'hello')
  const second = await connect(`${b.url}/ai-chat/one`)
  await answer.requested
  answer.say('before ')
  await expect.poll(() => textsOf(second.frames).get(turn)).toBe('before ')
  a.process.kill('SIGSTOP')
  answer.say('meanwhile ')
  await ended(second, turn)
  a.process.kill('SIGCONT')
  answer.say('afterwards')
  answer.finish()
  expect(await ended(first, turn)).toMatchObject({ outcome: 'interrupted' })
  const next = await say(second, 'and now')
  await ended(second, next)
  for (const { frames } of [first, second]) {
    expect(textsOf(frames).get(turn)).toBe('before ')
    expect(frames.filter(({ type, turn_id }) => type === 'ai_stream_end' && turn_id === turn)).toHaveLength(1)
  }
  expect(upstream.requests).toHaveLength(2)
})

test('C14 C15 a node that is frozen while it logs an attempt, and wakes up with the answer of Redis, asks the model nothing', async () => {
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const proxy = await startRedisProxy(redis)
  onTestFinished(() => proxy.close())
  const env = { OPENAI_BASE_URL: upstream.baseUrl, MODEL: 'test' }
  const a = await spawnServer({ ...env, REDIS_URL: proxy.url, OPENAI_API_KEY: 'a' })
  const b = await spawnServer({ ...env, REDIS_URL: redis.url, OPENAI_API_KEY: 'b' })
  const first = await connect(`${a.url}/ai-chat/one`)
  const answer = upstream.hold()
  const sprung = proxy.holdFrom('"attempt"')
  first.send({ type: 'user_message', content: 'hello' })
  await sprung
  a.process.kill('SIGSTOP')
  // Not before: a node that has members of the chat may be the first to take its turn.
  const second = await connect(`${b.url}/ai-chat/one`)
  await answer.requested
  proxy.release()
  a.process.kill('SIGCONT')
  answer.say('only ')
  // It is awake: it tells its own member what the other node writes.
  await expect.poll(() => [...textsOf(first.frames).values()]).toEqual(['only '])
  answer.say('once')
  answer.finish()
  expect(await second.next('ai_stream_end')).toMatchObject({ outcome: 'completed' })
  expect(await first.next('ai_stream_end')).toMatchObject({ outcome: 'completed' })
  expect(upstream.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer b'])
})

test('G8 C14 Redis lost the last words of a running turn: it ends there as interrupted, under a new epoch, without a hole', async () => {
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const node = await spawnServer({ REDIS_URL: redis.url, OPENAI_BASE_URL: upstream.baseUrl, MODEL: 'test' })
  const client = await connect(`${node.url}/ai-chat/one`)
  const witness = createWitness()
  const watched = watch(client, witness)
  const answer = upstream.hold()
  const turn = await say(client, 'hello')
  const request = await answer.requested
  for (const word of ['one ', 'two ']) {
    answer.say(word)
    await client.next('ai_stream_chunk', ({ content }) => content === word)
  }
  const { epoch, offset } = client.position
  const { meta, log } = keysOf('ai-chat/one')
  await redis.call('multi')
  await redis.call('xdel', log, `${offset}-0`)
  await redis.call('xsetid', log, `${offset - 1}-0`)
  await redis.call('hset', meta, 'head', offset - 1, 'shown', offset - 1)
  await redis.call('exec')
  answer.say('three ')
  const welcome = await client.next('welcome', (frame) => frame.epoch !== epoch)
  expect(welcome).toMatchObject({ resumed: false, offset: 0 })
  // The end comes live, or stands in the history.
  await watched.until(() => witness.turns.get(turn)?.outcome !== undefined)
  expect(witness.turns.get(turn)).toMatchObject({ outcome: 'interrupted', text: 'one ' })
  expect(await request.over).toBe('aborted')
})

test('C14 G8 a node that takes a turn over has not heard yet that its log has another epoch, and what was said under it', async () => {
  const { upstream, redis, a, b } = await startNodes()
  const first = await connect(`${a.url}/ai-chat/one`)
  const answer = upstream.hold()
  const turn = await say(first, 'hello')
  await answer.requested
  // The other node has the chat in memory, as it is now.
  const second = await connect(`${b.url}/ai-chat/one`)
  await second.next('typing')
  await a.kill()
  // Another master took over, and the turn said a word there before its node died; no wake-up tells it.
  const { meta, log } = keysOf('ai-chat/one')
  const [epoch, head] = (await redis.call('hmget', meta, 'epoch', 'head')) as [string, string]
  const offset = Number(head) + 1
  const chunk = { type: 'ai_stream_chunk', turn_id: turn, content: 'as far ', metadata: { index: 0 } }
  const row = ['t', Date.now(), 'e', JSON.stringify(chunk), 'n', 'its', 's', `${offset}:0`]
  await redis.call('multi')
  await redis.call('xadd', log, `${offset}-0`, ...row)
  await redis.call('hset', meta, 'epoch', 'another', 'before', `${epoch}@${head}`, 'head', offset, 'shown', offset)
  await redis.call('del', 'sw:{ai-chat/one}:lease')
  await redis.call('exec')
  expect(await ended(second, turn)).toMatchObject({ outcome: 'interrupted' })
  expect(textsOf(second.frames).get(turn)).toBe('as far ')
  expect(upstream.requests).toHaveLength(1)
})
