import { describe, expect, it } from 'vitest'
import {
  applyFrame,
  type Conversation,
  canRegenerate,
  emptyConversation,
  turnState,
} from '../../src/client/conversation.ts'
import type { ServerFrame } from '../../src/client/frames.ts'
import { readFrame } from '../../src/client/read-frame.ts'

type Sent = { type: string } & Record<string, unknown>

const welcome = (offset: number, resumed = offset > 0, epoch = 'e') => ({
  type: 'welcome',
  protocol: 1,
  connection_id: 'c',
  channel: 'x',
  epoch,
  offset,
  resumed,
  limits: { max_message_bytes: 1000, heartbeat_interval_ms: 1000, heartbeat_timeout_ms: 1000 },
})
const asked = (turn_id: string, content: string, offset: number) => ({ type: 'user_message', turn_id, content, offset })
const typing = (turn_id: string, offset: number, more = {}) => ({ type: 'typing', turn_id, offset, ...more })
const chunk = (turn_id: string, content: string, offset: number) => ({
  type: 'ai_stream_chunk',
  turn_id,
  content,
  offset,
})
const end = (turn_id: string, offset: number, more = {}) => ({
  type: 'ai_stream_end',
  turn_id,
  outcome: 'completed',
  offset,
  ...more,
})

function play(frames: readonly Sent[], from: Conversation = emptyConversation): Conversation {
  return frames.map(read).reduce(applyFrame, from)
}

function read(frame: Sent): ServerFrame {
  const known = readFrame(JSON.stringify(frame))
  if (known?.type !== frame.type) throw new Error(`not understood: ${frame.type}`)
  return known
}

/** The thread as a person reads it. */
function lines(conversation: Conversation): string[] {
  return conversation.items.flatMap((item) => {
    if (item.kind === 'divider') return [`--- ${item.edge}`]
    const answer = item.answer === undefined ? [] : [`< ${item.answer.text} (${item.answer.outcome ?? 'running'})`]
    return item.question === undefined ? answer : [`> ${item.question}`, ...answer]
  })
}

describe('conversation', () => {
  it('C2 shows a turn from its question to its end, and tells the chart’s turn state', () => {
    const states: string[] = []
    let conversation = play([welcome(0), { type: 'history', messages: [] }])
    const frames = [asked('t', 'hi', 1), typing('t', 2), chunk('t', 'hel', 3), chunk('t', 'lo', 4), end('t', 5)]
    for (const frame of frames) {
      conversation = play([frame], conversation)
      states.push(turnState(conversation))
    }
    expect(states).toEqual(['queued', 'typing', 'streaming', 'streaming', 'idle'])
    expect(lines(conversation)).toEqual(['> hi', '< hello (completed)'])
    expect(conversation).toMatchObject({ epoch: 'e', offset: 5 })
  })

  it('C3 keeps the text so far of a turn that failed, with its sentence', () => {
    const failed = { outcome: 'failed', error: { code: 'model_cut', content: 'It broke off.' } }
    const conversation = play([
      welcome(0),
      asked('t', 'hi', 1),
      typing('t', 2),
      chunk('t', 'he', 3),
      end('t', 4, failed),
    ])
    expect(conversation.items).toMatchObject([
      { answer: { text: 'he', outcome: 'failed', error: { content: 'It broke off.' } } },
    ])
  })

  it('C5 a question asked during an answer stands below that whole answer', () => {
    const conversation = play([
      welcome(0),
      asked('a', 'one', 1),
      typing('a', 2),
      chunk('a', 'ans', 3),
      asked('b', 'two', 4),
      { type: 'queued', turn_id: 'b', position: 1 },
      chunk('a', 'wer', 5),
    ])
    expect(lines(conversation)).toEqual(['> one', '< answer (running)', '> two'])
    expect(conversation.items[1]).toMatchObject({ waiting: true, place: 1 })
    const later = play([end('a', 6), typing('b', 7)], conversation)
    expect(turnState(later)).toBe('typing')
    expect(later.items[1]).toMatchObject({ place: undefined })
  })

  it('C6 a waiting turn that was stopped ends without an answer', () => {
    const conversation = play([welcome(0), asked('a', 'one', 1), end('a', 2, { outcome: 'stopped' })])
    expect(lines(conversation)).toEqual(['> one', '<  (stopped)'])
    expect(turnState(conversation)).toBe('idle')
  })

  it('C8 an answer given anew replaces the old one in its place, however often', () => {
    const first = play([welcome(0), asked('a', 'one', 1), typing('a', 2), chunk('a', 'old', 3), end('a', 4)])
    const second = play([typing('b', 5, { regenerates: 'a' }), chunk('b', 'new', 6), end('b', 7)], first)
    expect(lines(second)).toEqual(['> one', '< new (completed)'])
    const third = play([typing('c', 8, { regenerates: 'b' }), chunk('c', 'newest', 9)], second)
    expect(lines(third)).toEqual(['> one', '< newest (running)'])
  })

  it('G11 a history tells why an answer failed', () => {
    const error = { code: 'model_cut', content: 'It broke off.' }
    const failed = { role: 'assistant', content: 'he', turn_id: 'a', outcome: 'failed', error }
    expect(play([welcome(0), { type: 'history', messages: [failed], offset: 3 }]).items).toMatchObject([
      { answer: { outcome: 'failed', error: { content: 'It broke off.' } } },
    ])
  })

  it('C8 a joiner of a running regeneration sees it in place of the old answer, whose turn it has never seen', () => {
    const conversation = play([
      welcome(0),
      {
        type: 'history',
        messages: [
          { role: 'user', content: 'one', turn_id: 'a' },
          { role: 'assistant', content: 'second try', turn_id: 'b' },
        ],
      },
      { type: 'typing', turn_id: 'c', regenerates: 'b' },
      chunk('c', 'third', 20),
    ])
    expect(lines(conversation)).toEqual(['> one', '< third (running)'])
  })

  it('C8 finds the question that is answered anew above those that wait, in any history', () => {
    const user = (content: string, turn_id: string) => ({ role: 'user', content, turn_id })
    const old = { role: 'assistant', content: 'old', turn_id: 'b' }
    for (const answer of [[old], []]) {
      const conversation = play([
        welcome(0),
        { type: 'history', messages: [user('one', 'a'), ...answer, user('two', 'd')] },
        { type: 'typing', turn_id: 'c', regenerates: 'b' },
        chunk('c', 'new', 20),
      ])
      expect(lines(conversation)).toEqual(['> one', '< new (running)', '> two'])
    }
  })

  it('C8 offers to answer anew only when nothing runs or waits, and not across a divider', () => {
    const ended = play([welcome(0), asked('a', 'one', 1), typing('a', 2), end('a', 3)])
    expect(canRegenerate(ended)).toBe(true)
    expect(canRegenerate(play([asked('b', 'two', 4)], ended))).toBe(false)
    const started = { type: 'conversation_start', conversation_id: 'n', offset: 4 }
    expect(canRegenerate(play([started], ended))).toBe(false)
  })

  it('C9 divides conversations, and shows no divider above the first', () => {
    const edge = (type: string, offset: number) => ({ type, conversation_id: `n${offset}`, offset })
    const conversation = play([
      welcome(0),
      edge('conversation_start', 1),
      asked('a', 'one', 2),
      edge('conversation_end', 3),
      edge('conversation_start', 4),
      asked('b', 'two', 5),
    ])
    expect(lines(conversation)).toEqual(['> one', '--- start', '> two'])
  })

  it('G3 a snapshot moves the position by its last frame only, and pages of history add up', () => {
    const snapshot = [
      welcome(0),
      { type: 'history', messages: [{ role: 'assistant', content: 'from before' }], more: true },
      { type: 'history', messages: [{ role: 'user', content: 'hi', turn_id: 'a' }] },
      { type: 'typing', turn_id: 'a' },
      { type: 'ai_reasoning_chunk', turn_id: 'a', content: 'hm' },
    ]
    const cut = play(snapshot)
    expect(cut).toMatchObject({ epoch: 'e', offset: 0 })
    const whole = play([chunk('a', 'text so far', 17)], cut)
    expect(whole.offset).toBe(17)
    expect(lines(whole)).toEqual(['< from before (completed)', '> hi', '< text so far (running)'])
    expect(whole.items[1]).toMatchObject({ answer: { reasoning: 'hm' } })
  })

  it('G4 a welcome with offset 0 drops what was shown, so that a cut snapshot is shown once', () => {
    const cut = play([welcome(0), { type: 'history', messages: [{ role: 'user', content: 'hi', turn_id: 'a' }] }])
    const again = play([welcome(0, true), asked('a', 'hi', 1)], cut)
    expect(lines(again)).toEqual(['> hi'])
  })

  it('G2 a resumed welcome keeps what was shown, and the missed frames go on from there', () => {
    const before = play([welcome(0), asked('a', 'hi', 1), typing('a', 2), chunk('a', 'he', 3)])
    const resumed = play([welcome(3), chunk('a', 'llo', 6), end('a', 7)], before)
    expect(lines(resumed)).toEqual(['> hi', '< hello (completed)'])
  })

  it('G7 a folded answer replaces the chunks that were shown of it', () => {
    const folded = { type: 'ai_message', turn_id: 'a', content: 'hello', reasoning: 'hm', offset: 4 }
    const conversation = play([welcome(0), asked('a', 'hi', 1), typing('a', 2), folded, end('a', 5)])
    expect(conversation.items).toMatchObject([{ answer: { text: 'hello', reasoning: 'hm', outcome: 'completed' } }])
  })

  it('G8 a log of another epoch begins anew', () => {
    const before = play([welcome(0), asked('a', 'hi', 1), typing('a', 2)])
    const fresh = play([welcome(0, false, 'other'), { type: 'history', messages: [], offset: 0 }], before)
    expect(fresh).toMatchObject({ epoch: 'other', offset: 0, items: [] })
  })

  it('G13 a frame at or below the position changes nothing', () => {
    const before = play([welcome(0), asked('a', 'hi', 1), typing('a', 2), chunk('a', 'x', 3)])
    expect(play([asked('a', 'hi', 1), chunk('a', 'x', 3)], before)).toBe(before)
  })

  it('R2 keeps the messages of a room, those of its history first', () => {
    const said = (content: string, more = {}) => ({ content, client_id: 'c', ...more })
    const room = play([
      welcome(0),
      { type: 'history', messages: [{ role: 'user', ...said('one') }], offset: 1 },
      { type: 'message', ...said('two', { id: 'm' }), offset: 2 },
      { type: 'message', ...said('two', { id: 'm' }), offset: 2 },
    ])
    expect(room.messages).toMatchObject([said('one'), said('two', { id: 'm' })])
    expect(room.items).toEqual([])
  })

  it('lets go of the oldest after a thousand', () => {
    const many = Array.from({ length: 1200 }, (_, index) => asked(`t${index}`, `${index}`, index + 1))
    const { items, offset } = play([welcome(0), ...many])
    expect(items).toHaveLength(1000)
    expect(items[0]).toMatchObject({ question: '200' })
    expect(offset).toBe(1200)
  })
})
