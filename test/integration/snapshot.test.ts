import { describe, expect, test } from 'vitest'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import {
  ask,
  type ChatServer,
  ended,
  framesOf,
  STORES,
  say,
  settled,
  startChatServer,
  startClockedServer,
} from '../support/chat-server.ts'
import { type Client, connect, type Frame, textsOf } from '../support/client.ts'
import { startServer } from '../support/server.ts'
import { words } from '../support/upstream-scripts.ts'
import { createWitness, watch } from '../support/witness.ts'

const KEY = 'ai-chat/one'
const SWEEP_MS = 60_000

/** A chat with a history of many pages, and a turn that has reasoned and said much, and goes on. */
async function startMidTurn(chat: ChatServer, client: Client) {
  for (const at of [0, 1, 2]) {
    chat.upstream.next(words(`answer ${at} ${`${'x'.repeat(3_000)} `.repeat(4)}`))
    await ask(client, `question ${at} ${'q'.repeat(9_000)}`)
  }
  const answer = chat.upstream.hold()
  const turn = await say(client, 'and now?')
  await answer.requested
  answer.reason('r'.repeat(40_000))
  await client.next('ai_reasoning_chunk')
  answer.say(`${'t'.repeat(40_000)} `)
  await client.next('ai_stream_chunk')
  return { answer, turn }
}

/** The frames of a snapshot, which ends with the frame that carries an offset. */
async function snapshotOf(client: Client): Promise<Frame[]> {
  await settled(client)
  const [, ...frames] = client.frames
  return frames.slice(0, frames.findIndex((frame) => 'offset' in frame) + 1)
}

describe.each(STORES)('on %s', (store) => {
  test('G3 in mid-turn: history, typing, reasoning, text so far; only the last frame carries an offset', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    const { answer, turn } = await startMidTurn(chat, client)
    const joiner = await chat.join()
    const snapshot = await snapshotOf(joiner)
    const kinds = snapshot.map(({ type }) => type).filter((type, at, all) => type !== all[at - 1])
    expect(kinds).toEqual(['history', 'typing', 'ai_reasoning_chunk', 'ai_stream_chunk'])
    expect(snapshot.filter((frame) => 'offset' in frame)).toEqual([snapshot.at(-1)])
    expect(joiner.frames[0]).toMatchObject({ type: 'welcome', resumed: false, offset: 0 })
    expect(framesOf(joiner, 'history').length).toBeGreaterThan(2)
    expect(textsOf(joiner.frames).get(turn)).toBe(`${'t'.repeat(40_000)} `)
    for (const frame of snapshot) expect(Buffer.byteLength(JSON.stringify(frame))).toBeLessThan(64 * 1024)
    answer.say('and the rest')
    answer.finish()
    await ended(joiner, turn)
    expect(textsOf(joiner.frames).get(turn)).toBe(`${'t'.repeat(40_000)} and the rest`)
  })

  test('G3 a turn that waits for the model shows its message in the history alone', async () => {
    const chat = await startChatServer({ LLM_CONCURRENCY: '1' }, { store })
    const [busy, client] = [await chat.join('/ai-chat/busy'), await chat.join()]
    const answer = chat.upstream.hold()
    const running = await say(busy, 'one')
    await answer.requested
    const turn = await say(client, 'two')
    const joiner = await chat.join()
    expect(await snapshotOf(joiner)).toMatchObject([{ type: 'history', messages: [{ content: 'two', turn_id: turn }] }])
    answer.finish()
    await ended(busy, running)
    await ended(joiner, turn)
    expect(textsOf(joiner.frames).get(turn)).toBe('two')
  })

  test('G4 every cut within a snapshot, followed by a resume, is exact', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    const reference = createWitness()
    const stays = watch(client, reference)
    const { answer, turn } = await startMidTurn(chat, client)
    let text = `${'t'.repeat(40_000)} `
    await stays.until(() => reference.turns.get(turn)?.text === text)
    const length = (await snapshotOf(await chat.join())).length
    expect(length).toBeGreaterThan(10)
    const all = []
    // The welcome, each frame of the snapshot, and a live frame behind it.
    for (let cut = 1; cut <= length + 2; cut++) {
      const seen = createWitness()
      const first = await chat.join()
      const reads = watch(first, seen, cut)
      const piece = `${cut} `
      answer.say(piece)
      text += piece
      await reads.until(() => reads.taken >= cut)
      const second = await chat.join(seen.query)
      all.push({ seen, reads: watch(second, seen), cut })
    }
    answer.finish()
    await stays.until(() => reference.turns.get(turn)?.outcome === 'completed')
    for (const { seen, reads, cut } of all) {
      await reads.until(() => seen.turns.get(turn)?.outcome === 'completed')
      seen.compare(reference)
      expect(seen.turns.get(turn)?.text, `cut after ${cut}`).toBe(text)
      expect(seen.turns.get(turn)?.reasoning).toBe('r'.repeat(40_000))
      for (const [id, { text, outcome }] of reference.turns) expect(seen.turns.get(id)).toMatchObject({ text, outcome })
    }
    expect(reference.turns.get(turn)?.text).toBe(text)
  })

  test('G11 the last HISTORY_MESSAGES of the conversation, in the order of their turns', async () => {
    const chat = await startChatServer({ HISTORY_MESSAGES: '5' }, { store })
    const client = await chat.join()
    const turns: string[] = []
    for (const at of [0, 1, 2, 3]) turns.push(await ask(client, `message ${at}`, { id: `id-${at}` }))
    client.send({ type: 'regenerate' })
    const { turn_id: anew } = await client.next('typing', ({ regenerates }) => regenerates === turns[3])
    await ended(client, String(anew))
    const joiner = await chat.join()
    const [history, ...others] = await snapshotOf(joiner)
    expect(others).toEqual([])
    expect(history).toEqual({
      type: 'history',
      conversation_id: expect.any(String),
      messages: [
        { role: 'assistant', content: 'message 1', turn_id: turns[1], outcome: 'completed' },
        { role: 'user', content: 'message 2', id: 'id-2', turn_id: turns[2] },
        { role: 'assistant', content: 'message 2', turn_id: turns[2], outcome: 'completed' },
        { role: 'user', content: 'message 3', id: 'id-3', turn_id: turns[3] },
        { role: 'assistant', content: 'message 3', turn_id: anew, outcome: 'completed' },
      ],
      offset: (await chat.log.head(KEY)).offset,
    })
  })

  test('G11 pages: more on all but the last, together the whole list, and one message alone where it is long', async () => {
    const chat = await startChatServer({ MAX_ANSWER_BYTES: '200000' }, { store })
    const client = await chat.join()
    const long = `${'y'.repeat(4_000)} `.repeat(15)
    for (const text of ['short', long, 'short again']) {
      chat.upstream.next(words(text))
      await ask(client, 'q'.repeat(10_000))
    }
    const joiner = await chat.join()
    const pages = await snapshotOf(joiner)
    expect(pages.length).toBeGreaterThan(3)
    expect(pages.map(({ more }) => more)).toEqual([...pages.slice(1).map(() => true), undefined])
    const messages = pages.flatMap(({ messages }) => (Array.isArray(messages) ? messages : []))
    expect(messages.map(({ content }) => content.length)).toEqual([10_000, 5, 10_000, long.length, 10_000, 11])
  })

  test('G9 signals have no offset and are not in the log', async () => {
    const chat = await startChatServer({ LLM_CONCURRENCY: '1' }, { store })
    const [busy, client, other] = [await chat.join('/ai-chat/busy'), await chat.join(), await chat.join()]
    const answer = chat.upstream.hold()
    const running = await say(busy, 'one')
    await answer.requested
    const turn = await say(client, 'two')
    await client.next('queued')
    await settled(other)
    client.send({ type: 'typing' })
    expect(await other.next('typing')).not.toHaveProperty('offset')
    for (const frame of framesOf(other, 'queued')) expect(frame).not.toHaveProperty('offset')
    expect(await chat.entries()).toMatchObject([{ type: 'user_message' }])
    const replay = await chat.join(`?epoch=${client.position.epoch}&offset=0`)
    await replay.next('user_message')
    await settled(replay)
    expect(replay.frames.map(({ type }) => type)).toEqual(['welcome', 'user_message', 'pong'])
    answer.finish()
    await ended(busy, running)
    await ended(client, turn)
  })

  test('G14 joining, typing and stopping write nothing; the first append fixes the epoch that was told', async () => {
    const chat = await startChatServer({}, { store })
    const [client, other] = [await chat.join(), await chat.join()]
    client.send({ type: 'typing' })
    client.send({ type: 'stop' })
    client.send({ type: 'regenerate' })
    await client.next('error')
    expect(await chat.log.head(KEY)).toEqual({ epoch: undefined, offset: 0 })
    await ask(client, 'hello')
    const { epoch } = await chat.log.head(KEY)
    expect(epoch).toBe(client.position.epoch)
    expect(epoch).toBe(other.position.epoch)
    expect(framesOf(client, 'welcome')).toHaveLength(1)
  })
})

test('G11 on /chat the list stands under content, too, and nowhere else', async () => {
  const server = await startServer()
  const client = await connect(`${server.url}/chat/one`)
  await ask(client, 'hello')
  const joiner = await connect(`${server.url}/chat/one`)
  const history = await joiner.next('history')
  expect(history.messages).toHaveLength(2)
  expect(history.content).toEqual(history.messages)
  const other = await connect(`${server.url}/ai-chat/one`)
  expect(await other.next('history')).not.toHaveProperty('content')
})

test('G11 a room has messages of users with their client_id', async () => {
  const server = await startServer()
  const ann = await connect(`${server.url}/room/one`)
  const { connection_id } = await ann.next('welcome')
  ann.send({ type: 'message', content: 'hello', id: 'a' })
  await ann.next('message')
  const bob = await connect(`${server.url}/room/one`)
  expect((await bob.next('history')).messages).toEqual([
    { role: 'user', content: 'hello', id: 'a', client_id: connection_id },
  ])
})

test('G15 a channel is forgotten SESSION_TTL_S after its last append, but not while someone is attached', async () => {
  let now = Date.now() - 100_000
  const log = createMemoryLog({ now: () => now })
  const chat = await startClockedServer({ SESSION_TTL_S: '10', HEARTBEAT_INTERVAL_MS: '3600000' }, { log })
  const client = await chat.join()
  await ask(client, 'hello')
  const { epoch } = client.position
  chat.clock.advance(SWEEP_MS)
  await settled(client)
  expect(await log.head(KEY)).toMatchObject({ epoch })
  const again = await chat.join(client.resumeQuery)
  expect(await again.next('welcome')).toMatchObject({ resumed: true })
  await client.close()
  await again.close()
  // Who has closed may still be on his way out when the sweep looks.
  await expect
    .poll(async () => {
      chat.clock.advance(SWEEP_MS)
      return (await log.head(KEY)).epoch
    })
    .toBeUndefined()
  now = Date.now()
  const returned = await chat.join(client.resumeQuery)
  expect(await returned.next('welcome')).toMatchObject({ resumed: false, offset: 0 })
  expect((await returned.next('history')).messages).toEqual([])
  await ask(returned, 'hello')
  await returned.close()
  for (let sweeps = 0; sweeps < 3; sweeps++) {
    chat.clock.advance(SWEEP_MS)
    await new Promise(setImmediate)
  }
  expect((await log.head(KEY)).epoch).toBeDefined()
})

test('G7 the server itself folds turns that ended RESUME_WINDOW_S ago, and a joiner sees the same', async () => {
  const log = createMemoryLog({ now: () => Date.now() - 100_000 })
  const chat = await startClockedServer({ RESUME_WINDOW_S: '10', HEARTBEAT_INTERVAL_MS: '3600000' }, { log })
  const client = await chat.join()
  const turn = await ask(client, 'a few words')
  const before = await snapshotOf(await chat.join())
  chat.clock.advance(SWEEP_MS)
  await expect.poll(() => chat.entriesOf('ai_message')).toMatchObject([{ turn_id: turn, content: 'a few words' }])
  expect(await chat.entriesOf('ai_stream_chunk')).toEqual([])
  expect(await snapshotOf(await chat.join())).toEqual(before)
  await settled(client)
  expect(framesOf(client, 'welcome')).toHaveLength(1)
})
