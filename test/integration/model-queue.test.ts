import { expect, test } from 'vitest'
import type { ChatModel } from '../../src/model/chat-model.ts'
import { connect } from '../support/client.ts'
import { startServer } from '../support/server.ts'

/** A model whose answers end when they are let go, one by one; it knows who is being answered. */
function createHeldModel() {
  const asking = new Map<string, () => void>()
  let most = 0
  const asked: string[] = []
  const model: ChatModel = {
    description: 'a model that waits',
    async *stream(request, signal) {
      const gate = Promise.withResolvers<void>()
      const question = request.messages.at(-1)?.content ?? ''
      signal.addEventListener('abort', () => gate.resolve())
      asking.set(question, gate.resolve)
      asked.push(question)
      most = Math.max(most, asking.size)
      yield { type: 'text', content: `${question}!` }
      await gate.promise
      asking.delete(question)
      yield { type: 'finish', finish_reason: 'stop', usage: null }
    },
  }
  return { model, asked, letGo: (question: string) => asking.get(question)?.(), most: () => most }
}

async function ask(url: string, content: string, ip = '192.0.2.1') {
  const client = await connect(`${url}/ai-chat/${content}`, { headers: { 'X-Forwarded-For': ip } })
  client.send({ type: 'user_message', content })
  await client.next('user_message')
  return client
}

test('Q4 at most LLM_CONCURRENCY requests run at once; the next one begins when one ends or is stopped', async () => {
  const held = createHeldModel()
  const server = await startServer({ LLM_CONCURRENCY: '2', LLM_QUEUE: '10' }, { model: held.model })
  const [a, b] = [await ask(server.url, 'a'), await ask(server.url, 'b')]
  await a.next('ai_stream_chunk')
  await b.next('ai_stream_chunk')
  const [c, d] = [await ask(server.url, 'c'), await ask(server.url, 'd')]
  expect(await d.next('queued')).toMatchObject({ position: 2 })
  held.letGo('a')
  await a.next('ai_stream_end')
  await c.next('ai_stream_chunk')
  b.send({ type: 'stop' })
  await d.next('ai_stream_chunk')
  for (const question of ['c', 'd']) held.letGo(question)
  for (const client of [c, d]) expect(await client.next('ai_stream_end')).toMatchObject({ outcome: 'completed' })
  expect(held.most()).toBe(2)
})

test('Q4 metrics has how many ask the model and how many wait, by route', async () => {
  const held = createHeldModel()
  const server = await startServer({ LLM_CONCURRENCY: '1' }, { model: held.model })
  const numbers = async () => {
    const text = await server.metrics.text()
    return [...text.matchAll(/^statewire_llm_(.+) (\d+)$/gm)].map(([, name, value]) => `${name} ${value}`).sort()
  }
  const [running, waiting] = [await ask(server.url, 'a'), await ask(server.url, 'b')]
  await running.next('ai_stream_chunk')
  await waiting.next('queued')
  const ofChat = ['running{route="chat"} 0', 'waiting{route="chat"} 0']
  expect(await numbers()).toEqual(['running{route="ai-chat"} 1', 'waiting{route="ai-chat"} 1', ...ofChat].sort())
  held.letGo('a')
  await waiting.next('ai_stream_chunk')
  held.letGo('b')
  await waiting.next('ai_stream_end')
  expect(await numbers()).toEqual(['running{route="ai-chat"} 0', 'waiting{route="ai-chat"} 0', ...ofChat].sort())
})

test('Q4 more than LLM_QUEUE waiting turns end as failed, model_busy', async () => {
  const held = createHeldModel()
  const server = await startServer({ LLM_CONCURRENCY: '1', LLM_QUEUE: '1' }, { model: held.model })
  const a = await ask(server.url, 'a')
  await a.next('ai_stream_chunk')
  const b = await ask(server.url, 'b')
  await b.next('queued')
  const c = await ask(server.url, 'c')
  expect(await c.next('ai_stream_end')).toMatchObject({ outcome: 'failed', error: { code: 'model_busy' } })
  held.letGo('a')
  await b.next('ai_stream_chunk')
  held.letGo('b')
  expect(await b.next('ai_stream_end')).toMatchObject({ outcome: 'completed' })
  expect(held.asked).toEqual(['a', 'b'])
})

test('Q4 who has many turns waiting does not keep another user waiting behind all of them', async () => {
  const held = createHeldModel()
  const env = { LLM_CONCURRENCY: '1', LLM_QUEUE: '100', TRUSTED_PROXIES: '127.0.0.1' }
  const server = await startServer(env, { model: held.model })
  const first = await ask(server.url, 'first')
  await first.next('ai_stream_chunk')
  const many = []
  for (let at = 0; at < 5; at++) {
    const client = await ask(server.url, `many${at}`)
    await client.next('queued')
    many.push(client)
  }
  const other = await ask(server.url, 'other', '192.0.2.2')
  await other.next('queued')
  held.letGo('first')
  await many[0]?.next('ai_stream_chunk')
  held.letGo('many0')
  await other.next('ai_stream_chunk')
  expect(held.asked).toEqual(['first', 'many0', 'other'])
})
