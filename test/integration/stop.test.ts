import { describe, expect, test } from 'vitest'
import { ask, ended, framesOf, STORES, say, settled, startChatServer } from '../support/chat-server.ts'
import { type Client, textsOf } from '../support/client.ts'
import { echo, silence, status } from '../support/upstream-scripts.ts'

const ROUNDS = 60

describe.each(STORES)('on %s', (store) => {
  test('C6 stop ends the running turn at once, its request too, and keeps the text so far', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    const turn = await say(client, 'hello')
    const request = await answer.requested
    answer.say('so far so ')
    answer.say('good')
    await client.next('ai_stream_chunk', () => textsOf(client.frames).get(turn) === 'so far so good')
    client.send({ type: 'stop' })
    expect(await ended(client, turn)).toMatchObject({
      outcome: 'stopped',
      finish_reason: null,
      metadata: { total_words: 4 },
    })
    expect(await request.over).toBe('aborted')
    const joiner = await chat.join()
    expect((await joiner.next('history')).messages).toMatchObject([
      { role: 'user' },
      { role: 'assistant', content: 'so far so good', outcome: 'stopped' },
    ])
  })

  test('C6 stop before the first token, while the upstream says nothing', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    chat.upstream.next(silence())
    const turn = await say(client, 'hello')
    const request = await chat.upstream.request(0)
    client.send({ type: 'stop', turn_id: turn })
    expect(await ended(client, turn)).toMatchObject({ outcome: 'stopped', metadata: { total_words: 0 } })
    expect(await request.over).toBe('aborted')
    expect(await ask(client, 'and now?')).not.toBe(turn)
  })

  test('C6 stop while a retry waits: no request is made any more', async () => {
    const chat = await startChatServer({ LLM_BACKOFF_MS: '30000' }, { store })
    const client = await chat.join()
    chat.upstream.next(status(500))
    const turn = await say(client, 'hello')
    await (await chat.upstream.request(0)).over
    client.send({ type: 'stop' })
    expect(await ended(client, turn)).toMatchObject({ outcome: 'stopped' })
    await ask(client, 'next')
    expect(chat.upstream.requests).toHaveLength(2)
  })

  test('C6 stop by turn_id ends a waiting turn without asking the model; the running one goes on', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    const [first, second, third] = [await say(client, 'one'), await say(client, 'two'), await say(client, 'three')]
    await answer.requested
    client.send({ type: 'stop', turn_id: second })
    expect(await ended(client, second)).toMatchObject({ outcome: 'stopped' })
    answer.say('first')
    answer.finish()
    expect(await ended(client, first)).toMatchObject({ outcome: 'completed' })
    expect(await ended(client, third)).toMatchObject({ outcome: 'completed' })
    expect(chat.upstream.requests.map(({ body }) => body.messages.at(-1)?.content)).toEqual(['one', 'three'])
  })

  test('C6 stop without turn_id ends the running turn alone: the one behind it runs', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    const answer = chat.upstream.hold()
    const [first, second] = [await say(client, 'one'), await say(client, 'two')]
    await answer.requested
    client.send({ type: 'stop' })
    expect(await ended(client, first)).toMatchObject({ outcome: 'stopped' })
    expect(await ended(client, second)).toMatchObject({ outcome: 'completed' })
  })

  test('C6 another member may stop', async () => {
    const chat = await startChatServer({}, { store })
    const [client, other] = [await chat.join(), await chat.join()]
    const answer = chat.upstream.hold()
    const turn = await say(client, 'hello')
    await answer.requested
    other.send({ type: 'stop' })
    expect(await ended(client, turn)).toMatchObject({ outcome: 'stopped' })
  })

  test('C6 with nothing to stop it does nothing', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    client.send({ type: 'stop' })
    client.send({ type: 'stop', turn_id: 'no-such-turn' })
    const turn = await ask(client, 'hello')
    const before = await chat.entries()
    client.send({ type: 'stop', turn_id: turn })
    client.send({ type: 'stop' })
    client.send({ type: 'stop' })
    await ask(client, 'and on')
    expect((await chat.entries()).slice(0, before.length)).toEqual(before)
    expect(framesOf(client, 'error')).toEqual([])
    expect((await chat.entriesOf('ai_stream_end')).map(({ outcome }) => outcome)).toEqual(['completed', 'completed'])
    expect(await chat.entriesOf('stop')).toEqual([])
  })

  test('C6 stop right behind its user_message, in one TCP segment', async () => {
    const chat = await startChatServer({}, { store })
    const client = await chat.join()
    chat.upstream.always(silence())
    for (let round = 0; round < 10; round++) {
      inOneSegment(client, { type: 'user_message', content: `message ${round}` }, { type: 'stop' })
      expect(await client.next('ai_stream_end')).toMatchObject({ outcome: 'stopped' })
    }
    expect(await chat.entriesOf('ai_stream_end')).toHaveLength(10)
    // A model that was asked all the same was let go of.
    await Promise.all(chat.upstream.requests.map(({ over }) => over))
    expect(chat.upstream.requests.length).toBeLessThanOrEqual((await chat.entriesOf('attempt')).length)
  })

  test(`C3 C6 stop racing the end: one terminal entry a turn, in ${ROUNDS} rounds`, async () => {
    const chat = await startChatServer({}, { store })
    const [client, other] = [await chat.join(), await chat.join()]
    const outcomes = new Map<unknown, number>()
    let wait = 0
    for (let round = 0; round < ROUNDS; round++) {
      chat.upstream.next(echo())
      const turn = await say(client, 'a few words to be said again')
      for (let step = 0; step < wait; step++) await new Promise(setImmediate)
      client.send({ type: 'stop', turn_id: turn })
      other.send({ type: 'stop' })
      const { outcome } = await ended(client, turn)
      // The other's stop names no turn: one that was still on its way would stop the next.
      await settled(other)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      // Later where it was too early, earlier where it was too late: so it stays near the end.
      wait = outcome === 'stopped' ? Math.ceil(wait * 1.3) + 1 : Math.floor(wait * 0.8)
      if (outcome === 'completed') expect(textsOf(client.frames).get(turn)).toBe('a few words to be said again')
    }
    await settled(client)
    const ends = (await chat.entriesOf('ai_stream_end')).map(({ turn_id }) => turn_id)
    expect(ends).toHaveLength(ROUNDS)
    expect(new Set(ends).size).toBe(ROUNDS)
    expect(framesOf(client, 'ai_stream_end')).toHaveLength(ROUNDS)
    // Otherwise it was no race.
    expect(outcomes.get('stopped')).toBeGreaterThan(0)
    expect(outcomes.get('completed')).toBeGreaterThan(0)
  })
})

function inOneSegment(client: Client, ...frames: object[]): void {
  const socket = Reflect.get(client.ws, '_socket')
  socket.cork()
  for (const frame of frames) client.send(frame)
  socket.uncork()
}
