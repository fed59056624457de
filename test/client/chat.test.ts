import { describe, expect, it } from 'vitest'
import { ChatError } from '../../src/client/chat-error.ts'
import { createChat } from '../../src/client/create-chat.ts'
import type { Turn } from '../../src/client/turn.ts'
import { createFakeSockets, createFakeTime, welcomeText } from './fake-sockets.ts'

function joined() {
  const clock = createFakeTime()
  const sockets = createFakeSockets()
  let ids = 0
  const chat = createChat({
    url: 'ws://host/ai-chat/x',
    openSocket: sockets.open,
    random: () => 0,
    newId: () => `id${++ids}`,
    clock,
  })
  const errors: unknown[] = []
  chat.on('error', ({ code, id }) => errors.push(id === undefined ? code : `${code} ${id}`))
  const tell = (...frames: Record<string, unknown>[]) => {
    for (const frame of frames) sockets.last().events.message(JSON.stringify(frame))
  }
  const admit = (fields: Record<string, unknown> = {}) => {
    sockets.last().events.opened()
    sockets.last().events.message(welcomeText(fields))
  }
  return {
    clock,
    sockets,
    chat,
    errors,
    tell,
    admit,
    sent: (): unknown[] => sockets.last().sent.map((text) => JSON.parse(text)),
    /** Loses the line, and comes as far as the next `welcome`. */
    rejoin(fields: Record<string, unknown> = {}) {
      sockets.last().events.closed(1006, '')
      clock.advance(20)
      admit(fields)
    },
  }
}

const asked = (turn_id: string, id: string, offset: number) => ({
  type: 'user_message',
  turn_id,
  id,
  content: 'hi',
  client_id: 'c',
  conversation_id: 'n',
  offset,
})
const typing = (turn_id: string, offset?: number, more = {}) => ({ type: 'typing', turn_id, offset, ...more })
const chunk = (turn_id: string, content: string, offset?: number) => ({
  type: 'ai_stream_chunk',
  turn_id,
  content,
  offset,
})
const end = (turn_id: string, offset: number, more = {}) => ({
  type: 'ai_stream_end',
  turn_id,
  outcome: 'completed',
  finish_reason: 'stop',
  usage: null,
  offset,
  ...more,
})
const user = (turn_id: string, id: string) => ({ role: 'user', content: 'hi', turn_id, id })
const history = (messages: unknown[], offset?: number) => ({ type: 'history', messages, offset })

/** The parts of an answer as they are iterated, and how it ended. */
async function read(turn: Turn): Promise<string[]> {
  const parts: string[] = []
  try {
    for await (const delta of turn) parts.push(delta)
  } catch (error) {
    parts.push(error instanceof ChatError ? `! ${error.code}` : String(error))
  }
  return parts
}

describe('a turn', () => {
  it('C1 C3 is iterated as it comes, and tells how it ended', async () => {
    const { chat, admit, tell } = joined()
    admit()
    const turn = chat.send('hi')
    const parts = read(turn)
    tell(asked('t', 'id1', 1), typing('t', 2), chunk('t', 'he', 3))
    expect(turn.turnId).toBe('t')
    await expect.poll(() => turn.text).toBe('he')
    const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
    tell(chunk('t', 'llo', 4), end('t', 5, { usage }))
    expect((await parts).join('')).toBe('hello')
    expect(await turn.ended).toMatchObject({ outcome: 'completed', text: 'hello', finishReason: 'stop', usage })
    expect(await read(turn)).toEqual(['hello'])
  })

  it('C3 throws where it failed or was interrupted, and not where it was stopped', async () => {
    const { chat, admit, tell } = joined()
    admit()
    const outcomes = { failed: '! model_cut', interrupted: '! interrupted', stopped: undefined }
    let offset = 0
    for (const [outcome, thrown] of Object.entries(outcomes)) {
      const turn = chat.send('hi')
      const error = outcome === 'failed' ? { error: { code: 'model_cut', content: 'It broke off.' } } : {}
      tell(
        asked(outcome, turn.id, ++offset),
        chunk(outcome, 'x', ++offset),
        end(outcome, ++offset, { outcome, ...error }),
      )
      expect(await read(turn)).toEqual(thrown === undefined ? ['x'] : ['x', thrown])
      expect(await turn.ended).toMatchObject({ outcome, text: 'x' })
    }
  })

  it('P7 that is refused throws, and holds up no other', async () => {
    const { chat, admit, tell, sent, errors } = joined()
    admit()
    const [first, second] = [chat.send('one'), chat.send('two')]
    tell({ type: 'error', code: 'busy', content: 'Not now.', id: first.id })
    expect(await read(first)).toEqual(['! busy'])
    await expect(first.ended).rejects.toThrow('Not now.')
    expect(sent().at(-1)).toMatchObject({ id: second.id })
    expect(chat.outbox.map(({ id }) => id)).toEqual([second.id])
    expect(errors).toEqual(['busy id1'])
  })

  it('that is too long for the server is refused here', async () => {
    const { chat, sent, errors, admit } = joined()
    const turn = chat.send('x'.repeat(70_000))
    admit()
    await expect(turn.ended).rejects.toMatchObject({ code: 'too_long' })
    expect(sent()).toEqual([])
    expect(errors).toEqual(['too_long id1'])
  })

  it('G3 G4 goes on over a snapshot, nothing missing and nothing twice', async () => {
    const { chat, admit, tell, rejoin } = joined()
    admit()
    const turn = chat.send('hi')
    const parts = read(turn)
    tell(asked('t', 'id1', 1), typing('t', 2), chunk('t', 'one ', 3), chunk('t', 'two ', 4))
    await expect.poll(() => turn.text).toBe('one two ')
    // A snapshot that is cut within the text, and the next one.
    rejoin({ epoch: 'e' })
    tell(history([user('t', 'id1')]), typing('t'), chunk('t', 'one '))
    rejoin({ epoch: 'e' })
    tell(history([user('t', 'id1')]), typing('t'), chunk('t', 'one '), chunk('t', 'two three ', 5))
    tell(chunk('t', 'four', 6), end('t', 7))
    expect((await parts).join('')).toBe('one two three four')
  })

  it('G11 whose acknowledgement and end were missed is read from the history', async () => {
    const { chat, admit, tell, rejoin } = joined()
    admit()
    const turn = chat.send('hi')
    rejoin()
    const answer = { role: 'assistant', content: 'hello', turn_id: 't', outcome: 'completed' }
    tell(history([user('t', 'id1'), answer], 9))
    expect(await read(turn)).toEqual(['hello'])
    expect(chat.outbox).toEqual([])
    expect(turn.turnId).toBe('t')
  })

  it('G8 goes on where its log has another epoch, and what was under way is sent again', async () => {
    const { chat, admit, tell, sent } = joined()
    admit()
    const turn = chat.send('hi')
    tell(asked('t', 'id1', 1), typing('t', 2), chunk('t', 'one ', 3))
    chat.send('next')
    const reading = read(turn)
    tell(JSON.parse(welcomeText({ epoch: 'f', offset: 3, resumed: true })))
    expect(chat.position).toEqual({ epoch: 'f', offset: 3 })
    expect(sent().filter((frame) => (frame as { id?: string }).id === 'id2')).toHaveLength(2)
    tell(chunk('t', 'two', 4), end('t', 5))
    expect(await reading).toEqual(['one ', 'two'])
  })

  it('G8 L8 another epoch of the log of a server that goes away: nothing more goes out over it', () => {
    const { chat, admit, tell, sent } = joined()
    admit()
    tell({ type: 'draining', reconnect_after_ms: 5_000 })
    tell(JSON.parse(welcomeText({ epoch: 'f', offset: 0, resumed: true })))
    expect(chat.isDraining).toBe(true)
    chat.send('hi')
    expect(sent()).toEqual([])
  })

  it('G8 throws where its log was lost', async () => {
    const { chat, admit, tell } = joined()
    admit()
    const [known, unsent] = [chat.send('hi'), chat.send('later')]
    tell(asked('t', 'id1', 1), typing('t', 2), chunk('t', 'he', 3))
    admit({ epoch: 'other' })
    tell(history([], 0))
    expect(await read(known)).toEqual(['he', '! lost'])
    expect(chat.outbox.map(({ id }) => id)).toEqual([unsent.id])
  })

  it('G8 throws where its log was rolled back to less than it has said', async () => {
    const { chat, admit, tell } = joined()
    admit()
    const turn = chat.send('hi')
    tell(asked('t', 'id1', 1), typing('t', 2), chunk('t', 'hello', 3))
    admit({ epoch: 'other' })
    tell(history([user('t', 'id1'), { role: 'assistant', content: 'he', turn_id: 't', outcome: 'interrupted' }], 3))
    expect(await read(turn)).toEqual(['hello', '! lost'])
  })

  it('C8 throws where another answer has taken its place meanwhile', async () => {
    const { chat, admit, tell, rejoin } = joined()
    admit()
    const turn = chat.send('hi')
    tell(asked('t', 'id1', 1), typing('t', 2), chunk('t', 'old', 3))
    rejoin()
    tell(history([user('t', 'id1'), { role: 'assistant', content: 'new', turn_id: 'u', outcome: 'completed' }], 9))
    expect(await read(turn)).toEqual(['old', '! lost'])
  })

  it('G5 throws where another log is replayed from its beginning', async () => {
    const { chat, admit, tell, rejoin } = joined()
    admit()
    const turn = chat.send('hi')
    tell(asked('t', 'id1', 1))
    rejoin()
    rejoin({ epoch: 'other', resumed: true })
    expect(await read(turn)).toEqual(['! lost'])
  })

  it('C8 a regenerated answer is a turn of its own', async () => {
    const { chat, admit, tell, sent } = joined()
    admit()
    tell(history([user('t', 'a'), { role: 'assistant', content: 'old', turn_id: 't', outcome: 'completed' }], 4))
    const turn = chat.regenerate()
    expect(sent()).toEqual([{ type: 'regenerate', id: 'id1' }])
    tell(typing('u', 5, { regenerates: 't', id: 'id1' }), chunk('u', 'new', 6), end('u', 7))
    expect(await read(turn)).toEqual(['new'])
    expect(chat.history).toMatchObject([{ turnId: 't', question: 'hi', answer: { turnId: 'u', text: 'new' } }])
  })

  it('C6 is stopped wherever it is: running, sent, or not sent at all', async () => {
    const { chat, admit, tell, sent, rejoin } = joined()
    const unsent = chat.send('never')
    unsent.stop()
    expect(await unsent.ended).toMatchObject({ outcome: 'stopped', text: '' })
    admit()
    expect(sent()).toEqual([])
    const turn = chat.send('hi')
    turn.stop()
    expect(sent()).toHaveLength(1)
    tell(asked('t', turn.id, 1))
    expect(sent().at(-1)).toEqual({ type: 'stop', turn_id: 't' })
    // A stop that was lost with its connection is told again, until the turn has ended.
    rejoin({ resumed: true, offset: 1 })
    expect(sent()).toEqual([{ type: 'stop', turn_id: 't' }])
    tell(end('t', 2, { outcome: 'stopped' }))
    rejoin({ resumed: true, offset: 2 })
    expect(sent()).toEqual([])
  })

  it('C4 goes on when its iteration is left, unless asked otherwise', async () => {
    const { chat, admit, tell, sent } = joined()
    admit()
    let offset = 0
    for (const stopOnBreak of [false, true]) {
      const turn = chat.send('hi', { stopOnBreak })
      tell(asked(turn.id, turn.id, ++offset), chunk(turn.id, 'some', ++offset))
      for await (const _ of turn) break
      const stops = sent().filter((frame) => JSON.stringify(frame).includes('stop'))
      expect(stops).toEqual(stopOnBreak ? [{ type: 'stop', turn_id: turn.id }] : [])
      tell(end(turn.id, ++offset))
    }
  })

  it('throws when the connection has ended for good, and its draft is kept for a reconnect', async () => {
    const { chat, admit, sent, sockets } = joined()
    admit()
    const turn = chat.send('hi')
    sockets.last().events.closed(4429, 'rate limit exceeded too often')
    expect(await read(turn)).toEqual(['! closed'])
    expect(chat.link).toEqual({ at: 'closed', code: 4429, reason: 'rate limit exceeded too often' })
    chat.reconnect()
    admit()
    expect(sent()).toEqual([{ type: 'user_message', id: 'id1', content: 'hi' }])
    chat.close()
    expect(await read(chat.send('too late'))).toEqual(['! closed'])
  })
})

describe('a chat', () => {
  it('G13 C7 a frame that only acknowledges is no event', () => {
    const { chat, admit, tell, rejoin } = joined()
    const seen: string[] = []
    chat.on('user_message', ({ turn_id }) => seen.push(turn_id))
    admit()
    chat.send('hi')
    tell(asked('t', 'id1', 1))
    const again = chat.send('hi', { id: 'id1' })
    rejoin({ resumed: true, offset: 1 })
    tell(asked('t', 'id1', 1))
    expect(seen).toEqual(['t'])
    expect(again.turnId).toBe('t')
    expect(chat.outbox).toEqual([])
  })

  it('Q2 waits for retry_after_ms, and sends by itself', () => {
    const { chat, admit, tell, sent, clock } = joined()
    admit()
    chat.send('hi')
    tell({ type: 'error', code: 'rate_limited', content: 'Slowly.', id: 'id1', retry_after_ms: 2_000 })
    expect(chat.limitedUntil).toBe(clock.now() + 2_000)
    clock.advance(1_900)
    expect(sent()).toHaveLength(1)
    clock.advance(120)
    expect(sent()).toHaveLength(2)
  })

  it('R2 says something in a room, once', async () => {
    const { chat, admit, tell, rejoin, sent } = joined()
    admit()
    const said = chat.message('hello')
    rejoin({ resumed: true })
    expect(sent()).toEqual([{ type: 'message', id: 'id1', content: 'hello' }])
    tell({ type: 'message', content: 'hello', id: 'id1', client_id: 'c', offset: 1 })
    await said
    expect(chat.messages).toMatchObject([{ content: 'hello', client_id: 'c' }])
    const refused = chat.message('')
    tell({ type: 'error', code: 'bad_frame', content: 'content', id: 'id2' })
    await expect(refused).rejects.toMatchObject({ code: 'bad_frame' })
  })

  it('C9 starts and ends conversations', async () => {
    const { chat, admit, tell, sent } = joined()
    admit()
    const started = chat.startConversation({ conversationId: 'mine' })
    expect(sent()).toEqual([{ type: 'conversation_start', id: 'id1', conversation_id: 'mine' }])
    tell({ type: 'conversation_start', conversation_id: 'mine', id: 'id1', client_id: 'c', offset: 1 })
    await started
    const ended = chat.endConversation()
    expect(sent().at(-1)).toEqual({ type: 'conversation_end', id: 'id2' })
    tell({ type: 'conversation_end', conversation_id: 'mine', id: 'id2', client_id: 'c', offset: 2 })
    await ended
  })

  it('tells what is wrong with a server’s frame, and goes on', () => {
    const { chat, admit, sockets, errors, tell } = joined()
    admit()
    for (const text of ['{', '{"type":"ai_stream_chunk"}', '{"type":"later"}']) sockets.last().events.message(text)
    expect(errors).toEqual(['bad_frame', 'bad_frame'])
    tell(asked('t', 'x', 1))
    expect(chat.history).toHaveLength(1)
  })

  it('tells its states and changes, until nobody listens', () => {
    const { chat, admit, sockets } = joined()
    const states: string[] = []
    let changes = 0
    const off = chat.on('state', ({ at }) => states.push(at))
    chat.on('change', () => changes++)
    admit()
    expect(chat).toMatchObject({ state: 'open', channel: 'x', position: { epoch: 'e', offset: 0 } })
    sockets.last().events.closed(1006, '')
    off()
    chat.close()
    expect(states).toEqual(['accepting', 'open', 'waiting'])
    expect(chat.state).toBe('closed')
    expect(changes).toBeGreaterThan(3)
  })

  it('a listener that throws disturbs nobody else', async () => {
    const { chat, admit } = joined()
    const thrown: unknown[] = []
    const catchIt = (error: unknown) => thrown.push(error)
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException').once('uncaughtException', catchIt)
    const seen: string[] = []
    chat.on('welcome', () => {
      throw new Error('a listener of the page')
    })
    chat.on('welcome', ({ epoch }) => seen.push(epoch))
    admit()
    expect(seen).toEqual(['e'])
    await expect.poll(() => thrown).toHaveLength(1)
    for (const listener of others) process.on('uncaughtException', listener)
  })

  it('G2 goes on from the position of an earlier run', () => {
    const sockets = createFakeSockets()
    const clock = createFakeTime()
    const position = { epoch: 'e', offset: 7 }
    createChat({
      url: 'ws://h/ai-chat/x',
      openSocket: sockets.open,
      random: () => 0,
      newId: () => 'id',
      clock,
      position,
    })
    expect(sockets.last().url).toBe('ws://h/ai-chat/x?epoch=e&offset=7')
  })
})
