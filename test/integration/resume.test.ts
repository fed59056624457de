import { describe, expect, test } from 'vitest'
import { type ChannelLog, LogError } from '../../src/log/channel-log.ts'
import { openSqliteLog } from '../../src/log/sqlite-log.ts'
import {
  ask,
  type ChatServer,
  ended,
  framesOf,
  openLog,
  STORES,
  say,
  settled,
  startChatServer,
} from '../support/chat-server.ts'
import { connect, textsOf } from '../support/client.ts'
import { temporaryDirectory } from '../support/server.ts'
import { words } from '../support/upstream-scripts.ts'
import { createWitness, type Witness, watch } from '../support/witness.ts'

const KEY = 'ai-chat/one'

/** Reads a channel to its head, once, as a witness who never saw anything of it. */
async function readAll(chat: ChatServer, query = ''): Promise<Witness> {
  const witness = createWitness()
  const client = await chat.join(query)
  const { offset } = await chat.log.head(KEY)
  await watch(client, witness).until(() => witness.offset >= offset)
  client.cut()
  return witness
}

describe.each(STORES)('on %s', (store) => {
  test('G1 G2 a resume gets exactly what was missed, and then what comes live', async () => {
    const chat = await startChatServer({}, { store })
    const [reference, seen] = [createWitness(), createWitness()]
    const stayer = await chat.join()
    const stays = watch(stayer, reference)
    const goer = await chat.join()
    const goes = watch(goer, seen)
    const first = await ask(stayer, 'seen by both')
    await goes.until(() => seen.turns.get(first)?.outcome === 'completed')
    goer.cut()
    const missed = [await ask(stayer, 'missed, one'), await ask(stayer, 'missed, two')]
    const position = seen.offset
    const returned = await chat.join(seen.query)
    const returns = watch(returned, seen)
    await returns.until(() => seen.offset === reference.offset)
    const [welcome, ...frames] = returned.frames
    expect(welcome).toMatchObject({ resumed: true, offset: position, epoch: seen.epoch })
    expect(frames.every(({ offset }) => Number(offset) > position)).toBe(true)
    expect(framesOf(returned, 'user_message').map(({ turn_id }) => turn_id)).toEqual(missed)
    expect(framesOf(returned, 'history')).toEqual([])
    const live = await ask(stayer, 'seen live again')
    await returns.until(() => seen.turns.get(live)?.outcome === 'completed')
    await stays.until(() => reference.turns.get(live)?.outcome === 'completed')
    seen.compare(reference)
    expect([...seen.turns]).toEqual([...reference.turns])
  })

  test('G2 who missed nothing gets nothing but the welcome', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    await ask(client, 'hello')
    client.cut()
    const returned = await chat.join(client.resumeQuery)
    await settled(returned)
    expect(returned.frames.map(({ type }) => type)).toEqual(['welcome', 'pong'])
    expect(returned.position).toEqual(client.position)
  })

  test('G2 in mid-turn, at every chunk: none missing, none twice', async () => {
    const chat = await startChatServer({}, { store })
    const [reference, seen] = [createWitness(), createWitness()]
    const stayer = await chat.join()
    const stays = watch(stayer, reference)
    const answer = chat.upstream.hold()
    const turn = await say(stayer, 'a long one, please')
    await answer.requested
    let text = ''
    for (let step = 0; step < 12; step++) {
      const client = await chat.join(seen.query)
      const piece = `piece-${step} `
      text += piece
      // Half of it before the resume is there, half after: both sides of the seam.
      answer.say(piece)
      const end = watch(client, seen).until(() => (seen.turns.get(turn)?.text.length ?? 0) >= text.length)
      await end
      client.cut()
      answer.say('while away ')
      text += 'while away '
    }
    answer.finish()
    const last = await chat.join(seen.query)
    await watch(last, seen).until(() => seen.turns.get(turn)?.outcome === 'completed')
    await stays.until(() => reference.turns.get(turn)?.outcome === 'completed')
    seen.compare(reference)
    expect(seen.turns.get(turn)?.text).toBe(text)
    expect(seen.counts).toMatchObject({ welcomes: 13, resumed: 12 })
  })

  test('G4 G6 every cut within a replay of many pages, followed by a resume, is exact', async () => {
    const chat = await startChatServer({ MAX_ANSWER_BYTES: '1000000' }, { store })
    const client = await chat.join()
    const reference = createWitness()
    const stays = watch(client, reference)
    const turns: string[] = []
    for (let at = 0; at < 4; at++) {
      chat.upstream.next(async (answer) => {
        for (let piece = 0; piece < 6; piece++) {
          answer.reason(`reason ${piece} ${'r'.repeat(2_000)}`)
          await answer.flushed()
        }
        for (let piece = 0; piece < 6; piece++) {
          answer.say(`text ${piece} ${'t'.repeat(6_000)}`)
          await answer.flushed()
        }
        answer.finish()
      })
      turns.push(await ask(client, `question ${at}`))
    }
    await stays.until(() => reference.turns.get(turns[3] ?? '')?.outcome === 'completed')
    const { epoch } = reference
    const fromStart = `?epoch=${epoch}&offset=0`
    const whole = await chat.join(fromStart)
    const { offset: head } = await chat.log.head(KEY)
    const all = createWitness()
    const reads = watch(whole, all)
    await reads.until(() => all.offset === head)
    expect(reads.taken).toBeGreaterThan(20)
    for (let cut = 1; cut < reads.taken; cut++) {
      const seen = createWitness()
      const first = await chat.join(fromStart)
      await watch(first, seen, cut).until(() => first.frames.length >= cut)
      const second = await chat.join(seen.query)
      await watch(second, seen).until(() => seen.offset === head)
      second.cut()
      seen.compare(reference)
      expect([...seen.turns]).toEqual([...reference.turns])
    }
  })

  test('G5 a position above the head, or under another epoch, gets the snapshot', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    await ask(client, 'hello')
    const { epoch, offset } = client.position
    for (const query of [
      `?epoch=${epoch}&offset=${offset + 1}`,
      `?epoch=${epoch}&offset=999999999`,
      `?epoch=another&offset=${offset}`,
      '?epoch=another&offset=1',
      `?epoch=${epoch}&offset=-1`,
      `?epoch=${epoch}`,
      `?offset=${offset}`,
      '?epoch=%27&offset=1',
    ]) {
      const other = await chat.join(query)
      expect(await other.next('welcome'), query).toMatchObject({ resumed: false, offset: 0, epoch })
      expect(await other.next('history')).toMatchObject({ messages: { length: 2 }, offset })
    }
  })

  test('G5 offset 0 is honoured under any epoch: the log is replayed from its first entry', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    const turn = await ask(client, 'hello')
    const other = await chat.join('?epoch=another&offset=0')
    expect(await other.next('welcome')).toMatchObject({ resumed: true, offset: 0, epoch: client.position.epoch })
    await ended(other, turn)
    expect(framesOf(other, 'history')).toEqual([])
    expect(framesOf(other, 'user_message')).toEqual(framesOf(client, 'user_message'))
  })

  test('G5 G7 inside a folded turn gets the snapshot; before it and after it resume', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    const turn = await say(client, 'hello')
    await answer.requested
    answer.reason('hm ')
    await client.next('ai_reasoning_chunk')
    for (const word of ['some ', 'words ', 'more']) {
      answer.say(word)
      await client.next('ai_stream_chunk')
    }
    answer.finish()
    const { offset: end } = await ended(client, turn)
    const chunks = client.frames.filter(({ type }) => type.endsWith('_chunk')).map(({ offset }) => Number(offset))
    const typing = Number(framesOf(client, 'typing')[0]?.offset)
    expect(await chat.log.fold(Date.now() + 60_000)).toBe(1)
    const { epoch } = client.position
    for (const offset of chunks.slice(0, -1)) {
      const inside = await chat.join(`?epoch=${epoch}&offset=${offset}`)
      expect(await inside.next('welcome')).toMatchObject({ resumed: false, offset: 0, epoch })
      expect((await inside.next('history')).messages).toMatchObject([{}, { content: 'some words more' }])
    }
    const before = await chat.join(`?epoch=${epoch}&offset=${typing}`)
    expect(await before.next('welcome')).toMatchObject({ resumed: true, offset: typing })
    expect(await before.next('ai_message')).toEqual({
      type: 'ai_message',
      turn_id: turn,
      content: 'some words more',
      reasoning: 'hm ',
      offset: chunks.at(-1),
    })
    await ended(before, turn)
    const after = await chat.join(`?epoch=${epoch}&offset=${chunks.at(-1)}`)
    expect(await after.next('welcome')).toMatchObject({ resumed: true })
    expect(await after.next('ai_stream_end')).toMatchObject({ offset: end })
    // What was folded is the same for who reads it all, and ids are still known.
    const all = await readAll(chat, `?epoch=${epoch}&offset=0`)
    expect(all.turns.get(turn)).toEqual({ text: 'some words more', reasoning: 'hm ', outcome: 'completed' })
  })

  test('G6 a replay joins adjacent chunks of one kind: the last offset, the first index', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    const turn = await say(client, 'hello')
    await answer.requested
    for (const [kind, text] of [
      ['reason', 'a '],
      ['reason', 'b '],
      ['say', 'c '],
      ['say', 'd '],
      ['reason', 'e '],
      ['say', 'f'],
    ] as const) {
      answer[kind](text)
      await client.next(kind === 'say' ? 'ai_stream_chunk' : 'ai_reasoning_chunk')
    }
    answer.finish()
    await ended(client, turn)
    const live = client.frames.filter(({ type }) => type.endsWith('_chunk'))
    expect(live).toHaveLength(6)
    const other = await chat.join(`?epoch=${client.position.epoch}&offset=0`)
    await ended(other, turn)
    const joined = other.frames.filter(({ type }) => type.endsWith('_chunk'))
    expect(joined.map(({ type, content, metadata, offset }) => ({ type, content, metadata, offset }))).toEqual([
      { type: 'ai_reasoning_chunk', content: 'a b ', metadata: { index: 0 }, offset: live[1]?.offset },
      { type: 'ai_stream_chunk', content: 'c d ', metadata: { index: 2 }, offset: live[3]?.offset },
      { type: 'ai_reasoning_chunk', content: 'e ', metadata: { index: 4 }, offset: live[4]?.offset },
      { type: 'ai_stream_chunk', content: 'f', metadata: { index: 5 }, offset: live[5]?.offset },
    ])
  })

  test('G8 a log that expired under a live connection sends a fresh welcome with another epoch', async () => {
    const log = await openLog(store)
    const chat = await startChatServer({}, { log })
    const client = await chat.join()
    await ask(client, 'hello', { id: 'a' })
    const before = await client.position.epoch
    const welcomes = framesOf(client, 'welcome').length
    expect(await log.expire(Date.now() + 60_000, new Set())).toEqual([KEY])
    const welcome = await client.next('welcome', () => framesOf(client, 'welcome').length > welcomes)
    expect(welcome).toMatchObject({ resumed: false, offset: 0 })
    expect(welcome.epoch).not.toBe(before)
    expect((await client.next('history')).messages).toEqual([])
    // It goes on from there: the id is new again, and the epoch that was told holds.
    await ask(client, 'hello again', { id: 'a' })
    const head = await log.head(KEY)
    expect(head.epoch).toBe(welcome.epoch)
    const late = await chat.join(`?epoch=${before}&offset=1`)
    expect(await late.next('welcome')).toMatchObject({ resumed: false, epoch: welcome.epoch })
  })

  test('G8 a rolled-back log sends a fresh welcome; what was written at once after it belongs where it should', async () => {
    const inner = await openLog(store)
    let lie = 0
    const log: ChannelLog = {
      ...inner,
      // The server has seen more than there is: what a restored older copy looks like from inside.
      append: (key, entry, writer) => inner.append(key, entry, { ...writer, seenHead: writer.seenHead + lie }),
      read: (key, after, limit) => inner.read(key, after, limit),
    }
    const chat = await startChatServer({}, { log })
    const witness = createWitness()
    const client = await chat.join()
    const watches = watch(client, witness)
    await ask(client, 'before', { conversation_id: 'current' })
    const before = client.position.epoch
    lie = 1000
    client.send({ type: 'user_message', content: 'one', id: 'one' })
    client.send({ type: 'user_message', content: 'two', id: 'two', conversation_id: 'current' })
    client.send({ type: 'regenerate', id: 'three' })
    await client.next('welcome', ({ epoch }) => epoch !== before)
    lie = 0
    expect(await client.next('error')).toMatchObject({ id: 'three', code: 'busy' })
    await watches.until(() => [...witness.turns.values()].filter(({ outcome }) => outcome === 'completed').length === 3)
    expect(framesOf(client, 'error')).toHaveLength(1)
    const messages = await chat.entriesOf('user_message')
    expect(messages.map(({ content, conversation_id }) => [content, conversation_id])).toEqual([
      ['before', 'current'],
      ['one', 'current'],
      ['two', 'current'],
    ])
    const joiner = createWitness()
    await watch(await chat.join(), joiner).until(() => joiner.offset === witness.offset)
    expect([...joiner.turns.values()].map(({ text }) => text)).toEqual(['before', 'one', 'two'])
    expect([...witness.turns.values()].map(({ text }) => text)).toEqual(['before', 'one', 'two'])
  })

  test('G8 a log that cannot be read anew closes its members with 1011, and is read again while a turn keeps its channel', async () => {
    const inner = await openLog(store)
    let lie = 0
    let isBroken = false
    const log: ChannelLog = {
      ...inner,
      append: (key, entry, writer) => inner.append(key, entry, { ...writer, seenHead: writer.seenHead + lie }),
      read: (key, after, limit) =>
        isBroken ? Promise.reject(new LogError('failed', 'broken for a moment')) : inner.read(key, after, limit),
    }
    const chat = await startChatServer({}, { log })
    const answer = chat.upstream.hold()
    const client = await chat.join()
    await say(client, 'hello')
    await answer.requested
    answer.say('one ')
    await client.next('ai_stream_chunk')
    lie = 1000
    isBroken = true
    answer.say('two ')
    expect((await client.closed).code).toBe(1011)
    lie = 0
    const other = await chat.join()
    // Nothing can be judged by half a log, and its sender is told so.
    other.send({ type: 'user_message', content: 'too early', id: 'early' })
    expect(await other.next('error')).toMatchObject({ code: 'storage', id: 'early' })
    isBroken = false
    answer.say('three')
    answer.finish()
    // The turn ended before the log was read again, so the fresh snapshot has it whole.
    const history = await other.next('history', ({ messages }) => Array.isArray(messages) && messages.length === 2)
    expect(history.messages).toMatchObject([{ content: 'hello' }, { content: 'one two three', outcome: 'completed' }])
  })

  test('G13 C7 a repeat sent in mid-replay is acknowledged without a hole: not before its place has been reached', async () => {
    const chat = await startChatServer({ MAX_ANSWER_BYTES: '1000000' }, { store })
    const client = await chat.join()
    const reference = createWitness()
    const stays = watch(client, reference)
    for (let at = 0; at < 6; at++) {
      chat.upstream.next(words(`answer ${at} ${`${'x'.repeat(3_000)} `.repeat(10)}`))
      await ask(client, `question ${at}`, { id: `id-${at}` })
    }
    const { offset: head } = await chat.log.head(KEY)
    await stays.until(() => reference.offset === head)
    for (const query of [`?epoch=${reference.epoch}&offset=0`, '']) {
      const seen = createWitness()
      seen.sent('id-5')
      const returned = await chat.join(query)
      returned.send({ type: 'user_message', content: 'question 5', id: 'id-5' })
      const reads = watch(returned, seen)
      await reads.until(() => seen.offset === head)
      await reads.until(() => framesOf(returned, 'user_message').some(({ id }) => id === 'id-5'))
      const cutEarly = returned.frames.findIndex(({ id }) => id === 'id-5')
      // Whoever is cut right after the acknowledgement must not believe that he has what he has not.
      const again = createWitness()
      again.sent('id-5')
      for (const frame of returned.frames.slice(0, cutEarly + 1)) again.take(frame)
      await watch(await chat.join(again.query), again).until(() => again.offset === head)
      for (const [turn, { text }] of reference.turns) expect(again.turns.get(turn)?.text).toBe(text)
    }
  })
})

test('G2 after a restart of the server: the same epoch, exactly what was missed', async () => {
  const dataDir = temporaryDirectory()
  const first = await startChatServer({}, { log: await openSqliteLog({ dataDir }) })
  const seen = createWitness()
  const client = await first.join()
  const watches = watch(client, seen)
  const one = await ask(client, 'before')
  await watches.until(() => seen.turns.get(one)?.outcome === 'completed')
  client.cut()
  const other = await first.join()
  const two = await ask(other, 'missed')
  await first.server.stop()
  expect(await other.closed).toMatchObject({ code: 1001 })

  const second = await startChatServer({}, { log: await openSqliteLog({ dataDir }) })
  const returned = await second.join(seen.query)
  await watch(returned, seen).until(() => seen.turns.get(two)?.outcome === 'completed')
  expect(seen.counts).toMatchObject({ welcomes: 2, resumed: 1 })
  expect([...textsOf(returned.frames)]).toEqual([[two, 'missed']])
  const three = await ask(returned, 'after')
  expect(textsOf(returned.frames).get(three)).toBe('after')
})

test('G1 G2 a room resumes like a chat', async () => {
  const chat = await startChatServer()
  const url = `${chat.server.url}/room/one`
  const [ann, bob] = [await connect(url), await connect(url)]
  ann.send({ type: 'message', content: 'first' })
  await bob.next('message')
  bob.cut()
  for (const content of ['second', 'third']) ann.send({ type: 'message', content })
  await ann.next('message', ({ content }) => content === 'third')
  const returned = await connect(url + bob.resumeQuery)
  await returned.next('message', ({ content }) => content === 'third')
  expect(framesOf(returned, 'message').map(({ content }) => content)).toEqual(['second', 'third'])
  expect(framesOf(returned, 'welcome')).toMatchObject([{ resumed: true, offset: bob.position.offset }])
})
