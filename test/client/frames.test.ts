import { describe, expect, expectTypeOf, it } from 'vitest'
import type { z } from 'zod'
import type { ServerFrame } from '../../src/client/frames.ts'
import { readFrame } from '../../src/client/read-frame.ts'
import { entrySchema, isHidden } from '../../src/protocol/entry.ts'
import { type loggedFrameSchema, type UnloggedFrame, unloggedFrameSchema } from '../../src/protocol/server-frame.ts'

type Logged = Exclude<z.infer<typeof loggedFrameSchema>, { type: 'attempt' | 'stop' }>
type Sent = Exclude<UnloggedFrame, { type: 'echo' }> | Logged

const LIMITS = {
  max_message_bytes: 100,
  rate_limit: 1,
  rate_burst: 1,
  heartbeat_interval_ms: 100,
  heartbeat_timeout_ms: 100,
}
/** One of every frame, with the fields that a server never leaves out. */
const FRAMES: readonly Sent[] = [
  {
    type: 'welcome',
    protocol: 1,
    connection_id: 'c',
    channel: 'x',
    epoch: 'e',
    offset: 0,
    resumed: false,
    limits: LIMITS,
  },
  { type: 'history', messages: [{ role: 'user', content: 'hi', turn_id: 't' }] },
  { type: 'queued', turn_id: 't', position: 1 },
  { type: 'typing', client_id: 'c' },
  { type: 'typing', turn_id: 't' },
  { type: 'user_joined', client_id: 'c', content: 'c joined' },
  { type: 'user_left', client_id: 'c', content: 'c left' },
  { type: 'presence', members: [{ client_id: 'c' }] },
  { type: 'error', code: 'busy', content: 'Not now.' },
  { type: 'pong' },
  { type: 'draining', reconnect_after_ms: 10 },
  { type: 'user_message', turn_id: 't', content: 'hi', client_id: 'c', conversation_id: 'n' },
  { type: 'ai_stream_chunk', turn_id: 't', content: 'hi', metadata: { index: 0 } },
  { type: 'ai_reasoning_chunk', turn_id: 't', content: 'hi', metadata: { index: 0 } },
  { type: 'ai_message', turn_id: 't', content: 'hi' },
  {
    type: 'ai_stream_end',
    turn_id: 't',
    outcome: 'completed',
    finish_reason: null,
    usage: null,
    content: '',
    metadata: { total_words: 1 },
  },
  { type: 'conversation_start', conversation_id: 'n', client_id: 'c' },
  { type: 'conversation_end', conversation_id: 'n', client_id: 'c' },
  { type: 'message', content: 'hi', client_id: 'c' },
]
/** What of them the client counts on, but for what it has no use for. */
const COUNTED = /^(turn_id|content|offset|channel|epoch|limits|messages|position|members|code|outcome|conversation_id)$/
const UNUSED = new Set([
  'user_message conversation_id',
  'user_joined content',
  'user_left content',
  'ai_stream_end content',
])

describe('frames', () => {
  it('have the types of the server’s schemas', () => {
    expectTypeOf<Sent>().toExtend<ServerFrame>()
  })

  it('are known, every one that a server sends in a channel', () => {
    const unlogged = unloggedFrameSchema.options.map((option) => option.shape.type.value)
    const logged = entrySchema.options.map((option) => option.shape.type.value)
    const sent = [...unlogged, ...logged].filter((type) => type !== 'echo' && !isHidden({ type } as { type: 'stop' }))
    expect([...new Set(FRAMES.map(({ type }) => type))].sort()).toEqual([...new Set(sent)].sort())
    for (const frame of FRAMES) expect(readFrame(JSON.stringify(frame)), frame.type).toEqual(frame)
  })

  it('P8 unknown frames and fields are passed over', () => {
    for (const text of ['{"type":"later"}', '{"type":"constructor"}', '{"type":"state"}']) {
      expect(readFrame(text)).toBeUndefined()
    }
    for (const frame of FRAMES) {
      expect(readFrame(JSON.stringify({ ...frame, later: { more: true } }))?.type).toBe(frame.type)
    }
    const messages = [{ role: 'tool', content: 'later' }, { role: 'user' }, null, { role: 'user', content: 'hi' }]
    expect(readFrame(JSON.stringify({ type: 'history', messages }))).toMatchObject({
      messages: [{ role: 'user', content: 'hi' }],
    })
  })

  it('are an error where the server says what no server should say', () => {
    const wrong = ['', '{', '7', 'null', '[]', '{}', '{"type":7}']
    for (const frame of FRAMES) {
      for (const field of Object.keys(frame)) {
        // The model's typing and a member's are one frame with different fields.
        if (!COUNTED.test(field) || UNUSED.has(`${frame.type} ${field}`) || frame.type === 'typing') continue
        wrong.push(JSON.stringify({ ...frame, [field]: undefined }), JSON.stringify({ ...frame, [field]: true }))
      }
      wrong.push(JSON.stringify({ ...frame, offset: '7' }))
    }
    wrong.push(JSON.stringify({ ...FRAMES[0], limits: { ...LIMITS, heartbeat_interval_ms: undefined } }))
    for (const text of wrong) expect(readFrame(text), text).toMatchObject({ type: 'error', code: 'bad_frame' })
  })
})
