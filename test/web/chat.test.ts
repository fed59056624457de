import { describe, expect, it } from 'vitest'
import { createChat } from '../../src/client/create-chat.ts'
import { type ChatView, createPageChat } from '../../src/web/chat/chat.ts'
import { type PageDraft, readDrafts } from '../../src/web/chat/kept-drafts.ts'
import { statusOf } from '../../src/web/chat/status.ts'
import { createFakeSockets, createFakeTime, welcomeText } from '../client/fake-sockets.ts'

function joined(heldBack: readonly PageDraft[] = [], limits?: Record<string, unknown>) {
  const clock = createFakeTime()
  const sockets = createFakeSockets()
  const notices: string[] = []
  let ids = 0
  const newId = () => `id${++ids}`
  const client = createChat({
    url: 'ws://host/ai-chat/x',
    openSocket: sockets.open,
    random: () => 0,
    newId,
    clock,
  })
  const chat = createPageChat({
    chat: client,
    newId,
    heldBack,
    onChange() {},
    onNotice: (sentence) => notices.push(sentence),
  })
  const tell = (frame: Record<string, unknown>) => sockets.last().events.message(JSON.stringify(frame))
  const admit = (fields: Record<string, unknown> = {}) => {
    sockets.last().events.opened()
    sockets.last().events.message(welcomeText({ ...(limits === undefined ? {} : { limits }), ...fields }))
  }
  /** What went out over the newest socket. */
  const sent = (): unknown[] => sockets.last().sent.map((text) => JSON.parse(text))
  const sentence = (view: ChatView = chat.view()) => statusOf(view, clock.now()).sentence
  return { clock, sockets, notices, client, chat, tell, admit, sent, sentence }
}

const message = (id: string, content: string) => ({ type: 'user_message', id, content })
const taken = (id: string, content: string, offset: number) => ({ ...message(id, content), turn_id: `t${id}`, offset })

describe('chat', () => {
  it('C7 sends a message again under the same id after a loss, until it is acknowledged', () => {
    const { chat, admit, sockets, clock, tell, sent } = joined()
    admit()
    chat.send('hello')
    expect(sent()).toEqual([message('id1', 'hello')])
    sockets.last().events.closed(1006, '')
    clock.advance(20)
    admit({ resumed: true })
    expect(sent()).toEqual([message('id1', 'hello')])
    tell(taken('id1', 'hello', 1))
    expect(chat.view().outbox).toEqual([])
    expect(chat.view().conversation.items).toHaveLength(1)
  })

  it('G13 an acknowledgement of what is shown already shows it no second time', () => {
    const { chat, admit, sockets, clock, tell } = joined()
    admit()
    chat.send('hello')
    sockets.last().events.closed(1006, '')
    clock.advance(20)
    admit({ resumed: true })
    tell(taken('id1', 'hello', 1))
    tell(taken('id1', 'hello', 1))
    expect(chat.view().conversation.items).toHaveLength(1)
  })

  it('takes messages before it is connected, and sends them one after the other, in order', () => {
    const { chat, admit, tell, sent } = joined()
    chat.send('one')
    chat.send('two')
    admit()
    expect(sent()).toEqual([message('id1', 'one')])
    tell(taken('id1', 'one', 1))
    expect(sent()).toEqual([message('id1', 'one'), message('id2', 'two')])
  })

  it('a history that holds a message acknowledges it', () => {
    const { chat, admit, tell } = joined([{ id: 'old', content: 'from before the reload' }])
    admit()
    tell({ type: 'history', messages: [{ role: 'user', content: 'from before the reload', id: 'old' }], offset: 3 })
    expect(chat.view().outbox).toEqual([])
    expect(chat.view().conversation.items).toHaveLength(1)
  })

  it('Q2 a message over the rate goes out by itself after retry_after_ms', () => {
    const { chat, admit, tell, sent, clock, sentence } = joined()
    admit()
    chat.send('one')
    tell({ type: 'error', code: 'rate_limited', content: 'Slowly.', id: 'id1', retry_after_ms: 2000 })
    expect(statusOf(chat.view(), clock.now()).states).toEqual(['open', 'idle', 'limited'])
    expect(sentence()).toContain('in 2 s')
    chat.send('two')
    clock.advance(1_900)
    expect(sent()).toHaveLength(1)
    clock.advance(120)
    expect(sent()).toEqual([message('id1', 'one'), message('id1', 'one')])
  })

  it('L8 keeps messages while the server drains, and sends them to the next one', () => {
    const { chat, admit, tell, sent, sockets, clock } = joined()
    admit()
    tell({ type: 'draining', reconnect_after_ms: 100 })
    chat.send('later')
    expect(sent()).toEqual([])
    expect(statusOf(chat.view(), clock.now()).states).toContain('draining')
    sockets.last().events.closed(1001, '')
    clock.advance(120)
    admit()
    expect(sent()).toEqual([message('id1', 'later')])
  })

  it('P7 a refused message waits for the user, and holds up no other', () => {
    const { chat, admit, tell, sent } = joined()
    admit()
    chat.send('one')
    chat.send('two')
    tell({ type: 'error', code: 'busy', content: 'Not now.', id: 'id1' })
    expect(chat.view().outbox).toMatchObject([{ id: 'id1', refused: 'Not now.' }, { id: 'id2' }])
    expect(sent()).toHaveLength(2)
    tell(taken('id2', 'two', 1))
    chat.retry('id1')
    expect(sent().at(-1)).toEqual(message('id1', 'one'))
    tell({ type: 'error', code: 'storage', content: 'Not saved.', id: 'id1' })
    chat.discard('id1')
    expect(chat.view().outbox).toEqual([])
  })

  it('an error that belongs to no message is a notice', () => {
    const { admit, tell, notices } = joined()
    admit()
    tell({ type: 'error', code: 'illegal', content: 'That is not possible now.', legal: [] })
    expect(notices).toEqual(['That is not possible now.'])
  })

  it('keeps to max_message_bytes, counted as the bytes of the whole frame', () => {
    const { chat, admit, sent } = joined([], {
      max_message_bytes: 100,
      heartbeat_interval_ms: 1e6,
      heartbeat_timeout_ms: 1e6,
    })
    admit()
    expect(chat.send('é'.repeat(60))).toBeGreaterThan(0)
    expect(chat.view().outbox).toEqual([])
    expect(chat.send('short')).toBe(0)
    expect(sent()).toHaveLength(1)
  })

  it('a draft that turns out too long for the server is refused, and never sent', () => {
    const { chat, admit, sent } = joined([], {
      max_message_bytes: 100,
      heartbeat_interval_ms: 1e6,
      heartbeat_timeout_ms: 1e6,
    })
    expect(chat.send('x'.repeat(200))).toBe(0)
    admit()
    expect(sent()).toEqual([])
    expect(chat.view().outbox[0]?.refused).toBeDefined()
  })

  it('C6 stops the turn that runs, by its id', () => {
    const { chat, admit, tell, sent } = joined()
    admit()
    tell(taken('a', 'one', 1))
    tell({ type: 'typing', turn_id: 'ta', offset: 2 })
    chat.stop()
    expect(sent()).toEqual([{ type: 'stop', turn_id: 'ta' }])
  })

  it('C8 asks once for a new answer, under one id, and sends it again after a loss', () => {
    const { chat, admit, tell, sent, sockets, clock } = joined()
    admit()
    tell(taken('a', 'one', 1))
    tell({ type: 'typing', turn_id: 'ta', offset: 2 })
    tell({ type: 'ai_stream_end', turn_id: 'ta', outcome: 'completed', offset: 3 })
    chat.regenerate()
    chat.regenerate()
    expect(sent()).toEqual([{ type: 'regenerate', id: 'id1' }])
    sockets.last().events.closed(1006, '')
    clock.advance(20)
    admit({ resumed: true, offset: 3 })
    expect(sent()).toEqual([{ type: 'regenerate', id: 'id1' }])
    tell({ type: 'typing', turn_id: 'tb', regenerates: 'ta', id: 'id1', offset: 4 })
    expect(chat.view().outbox).toEqual([])
    expect(chat.view().turn).toBe('typing')
  })

  it('says in plain words how the connection is', () => {
    const { client, chat, admit, sockets, clock, sentence } = joined()
    expect(sentence()).toBe('Connecting…')
    admit()
    expect(sentence()).toBe('Connected')
    sockets.last().events.closed(1013, '')
    expect(sentence()).toBe('Reconnecting…')
    client.offline()
    expect(sentence()).toMatch(/offline/)
    client.wake()
    sockets.last().events.closed(4429, '')
    expect(statusOf(chat.view(), clock.now())).toMatchObject({ states: ['closed'], canReconnect: true, tone: 'bad' })
    chat.close()
  })

  it('reads kept drafts, and nothing else', () => {
    expect(readDrafts('[{"id":"a","content":"b"},{"id":3},null]')).toEqual([{ id: 'a', content: 'b' }])
    expect(readDrafts('nonsense')).toEqual([])
    expect(readDrafts(null)).toEqual([])
  })
})
