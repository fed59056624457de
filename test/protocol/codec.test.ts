import { describe, expect, test } from 'vitest'
import { CLIENT_FRAME_TYPES } from '../../src/protocol/client-frame.ts'
import { decode, encode, encodeEntry, errorFrame, isJsonObject } from '../../src/protocol/codec.ts'
import { ERRORS } from '../../src/protocol/errors.ts'

function errorOf(text: string) {
  const decoded = decode(text)
  if ('frame' in decoded) throw new Error(`decoded: ${text.slice(0, 100)}`)
  return decoded.error
}

const nested = (depth: number): string => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`

describe('P2 text that is no JSON object is bad_json', () => {
  test.each([
    ['nothing', ''],
    ['white space', ' \n'],
    ['words', 'hello'],
    ['half an object', '{"type":"ping"'],
    ['two objects', '{"type":"ping"}{"type":"ping"}'],
    ['an array', '[{"type":"ping"}]'],
    ['a string', '"ping"'],
    ['a number', '1'],
    ['null', 'null'],
    ['true', 'true'],
    ['NaN', 'NaN'],
    ['single quotes', "{'type':'ping'}"],
    ['a comment', '{"type":"ping"}//'],
    ['a byte order mark', '\ufeff{"type":"ping"}'],
    ['a raw NUL in a string', '{"type":"user_message","content":"\u0000"}'],
    ['60 KB of [', '['.repeat(60_000)],
    ['60 KB of {"a":', '{"a":'.repeat(12_000)],
    ['30,000 balanced arrays', '['.repeat(30_000) + ']'.repeat(30_000)],
  ])('%s', (_, text) => {
    expect(errorOf(text)).toEqual({ type: 'error', code: 'bad_json', content: ERRORS.bad_json.content })
  })
})

describe('P3 an unknown or missing type is unknown_type, with the known types', () => {
  test.each([
    '{}',
    '{"type":null}',
    '{"type":1}',
    '{"type":["ping"]}',
    '{"type":{"type":"ping"}}',
    '{"type":""}',
    '{"type":"Ping"}',
    '{"type":"ping "}',
    '{"type":"__proto__"}',
    '{"type":"constructor"}',
    '{"type":"toString"}',
    '{"type":"hasOwnProperty"}',
    '{"type":"xstate.stop"}',
    '{"type":"xstate.init"}',
    '{"type":"xstate.error.actor.x"}',
    '{"type":"xstate.after.heartbeatInterval.connection.open.heartbeat.alive"}',
    '{"type":"connection.joined"}',
    '{"type":"connection.close","close":"done"}',
    '{"type":"socket.closed"}',
    '{"type":"turn.idle"}',
    '{"type":"server.draining"}',
    '{"type":"rate.exceeded"}',
    '{"type":"*"}',
    '{"type":"welcome"}',
    '{"__proto__":{"type":"ping"}}',
    '{"type":"ping","type":"other"}',
  ])('%s', (text) => {
    const error = errorOf(text)
    expect(error.code).toBe('unknown_type')
    for (const type of CLIENT_FRAME_TYPES) expect(error.content).toContain(type)
  })
})

describe('P4 a missing, unknown or wrong field is bad_frame, with its name', () => {
  test.each([
    ['content', '{"type":"user_message"}'],
    ['content', '{"type":"user_message","content":5}'],
    ['content', '{"type":"user_message","content":null}'],
    ['content', '{"type":"user_message","content":""}'],
    ['content', '{"type":"user_message","content":["a"]}'],
    ['content', '{"type":"message","content":{"toString":1}}'],
    ['id', '{"type":"user_message","content":"a","id":5}'],
    ['id', '{"type":"regenerate","id":""}'],
    ['id', '{"type":"regenerate","id":null}'],
    ['turn_id', '{"type":"stop","turn_id":1}'],
    ['conversation_id', '{"type":"conversation_start","conversation_id":false}'],
    ['metadata', '{"type":"user_message","content":"a","metadata":[]}'],
    ['metadata', '{"type":"user_message","content":"a","metadata":"a"}'],
    ['metadata', '{"type":"user_message","content":"a","metadata":null}'],
    ['extra', '{"type":"ping","extra":1}'],
    ['offset', '{"type":"typing","offset":1}'],
    ['id', '{"type":"stop","id":"a"}'],
    ['__proto__', '{"type":"ping","__proto__":{"type":"stop"}}'],
    ['__proto__', '{"type":"user_message","content":"a","__proto__":{"id":"a"}}'],
    ['constructor', '{"type":"ping","constructor":1}'],
    ['toString', '{"type":"ping","toString":1}'],
  ])('%s in %s', (field, text) => {
    const error = errorOf(text)
    expect(error.code).toBe('bad_frame')
    expect(error.content).toContain(field)
  })

  test('several are named, but not without end', () => {
    const { content } = errorOf(`{"type":"ping",${Array.from({ length: 500 }, (_, n) => `"f${n}":1`).join()}}`)
    expect(content).toContain('f0, f1, f2')
    expect(content.length).toBeLessThan(200)
  })

  test.each([
    ['a value', '{"type":"user_message","content":"a","id":["SENT"]}'],
    ['a long value', `{"type":"user_message","content":"a","id":"${'SENT'.repeat(100)}"}`],
    ['a value of metadata', '{"type":"user_message","content":"a","metadata":"SENT"}'],
    ['a type', '{"type":"SENT"}'],
    ['text that is no JSON', 'SENT'],
    ['a field name that is text', '{"type":"ping","<b>SENT</b>":1}'],
    ['a long field name', `{"type":"ping","${'SENT'.repeat(17)}":1}`],
  ])('%s is never quoted', (_, text) => {
    expect(JSON.stringify(errorOf(text))).not.toContain('SENT')
  })
})

describe('P5 metadata', () => {
  const withMetadata = (metadata: string) => `{"type":"user_message","content":"a","id":"m","metadata":${metadata}}`

  test('8 deep is taken as it is', () => {
    const decoded = decode(withMetadata(nested(8)))
    expect(decoded).toHaveProperty('frame.metadata', JSON.parse(nested(8)))
  })

  test.each([
    ['9 deep', nested(9)],
    ['9 deep by arrays', `{"a":${'['.repeat(8)}${']'.repeat(8)}}`],
    ['10,000 deep', nested(10_000)],
    ['one of many', `{${Array.from({ length: 100 }, (_, n) => `"k${n}":1`).join()},"z":${nested(8)}}`],
  ])('%s is bad_frame', (_, metadata) => {
    const error = errorOf(withMetadata(metadata))
    expect(error).toMatchObject({ code: 'bad_frame', id: 'm' })
    expect(error.content).toContain('metadata')
  })

  test('names that objects have anyway change nothing', () => {
    const decoded = decode(withMetadata('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'))
    expect(decoded).toHaveProperty('frame')
    expect({}).not.toHaveProperty('polluted')
    if ('frame' in decoded && decoded.frame.type === 'user_message') {
      expect(Object.getPrototypeOf(decoded.frame.metadata)).toBe(Object.prototype)
      expect(decoded.frame.metadata).not.toHaveProperty('polluted')
    }
  })
})

describe('P6 ids are 1 to 64 characters', () => {
  const frames = {
    id: (id: string) => ({ type: 'user_message', content: 'a', id }),
    turn_id: (turn_id: string) => ({ type: 'stop', turn_id }),
    conversation_id: (conversation_id: string) => ({ type: 'conversation_start', conversation_id }),
  }
  test.each(Object.entries(frames))('%s', (field, frame) => {
    for (const id of ['x', 'x'.repeat(64), 'żółć \u0000"'])
      expect(decode(JSON.stringify(frame(id)))).toEqual({ frame: frame(id) })
    for (const id of ['', 'x'.repeat(65)]) {
      const error = errorOf(JSON.stringify(frame(id)))
      expect([error.code, error.content.includes(field)]).toEqual(['bad_frame', true])
    }
  })
})

describe('P7 an error carries the id of its frame', () => {
  test.each([
    '{"type":"user_message","id":"mine"}',
    '{"type":"nonsense","id":"mine"}',
    '{"id":"mine"}',
    '{"type":"ping","id":"mine"}',
  ])('%s', (text) => {
    expect(errorOf(text)).toMatchObject({ id: 'mine' })
  })

  test.each(['{"id":5}', '{"id":""}', `{"id":"${'x'.repeat(65)}"}`, '{"id":{}}', '{"id":null}'])(
    '%s is no id',
    (text) => {
      expect(errorOf(text)).not.toHaveProperty('id')
    },
  )
})

test('P4 of a field that comes twice, the last one counts, as everywhere in JSON', () => {
  expect(decode('{"type":"stop","type":"ping"}')).toEqual({ frame: { type: 'ping' } })
})

test('every client frame decodes to itself', () => {
  const frames = [
    { type: 'user_message', content: 'a', id: 'i', conversation_id: 'c', metadata: { traceparent: 't' } },
    { type: 'stop', turn_id: 't' },
    { type: 'regenerate', id: 'i' },
    { type: 'typing' },
    { type: 'conversation_start', id: 'i', conversation_id: 'c', metadata: {} },
    { type: 'conversation_end', id: 'i', conversation_id: 'c', metadata: {} },
    { type: 'message', content: 'a', id: 'i' },
    { type: 'ping' },
    { type: 'pong' },
  ]
  expect(frames.map(({ type }) => type)).toEqual(CLIENT_FRAME_TYPES)
  for (const frame of frames) expect(decode(JSON.stringify(frame))).toEqual({ frame })
})

test.each(['\ud800', 'a\udc00b', '\u0000', '\u2028', '\ufeff', '"\\/\b', '👩‍👩‍👧', '\u202e'])(
  'content %j comes out as it went in',
  (content) => {
    const decoded = decode(JSON.stringify({ type: 'message', content }))
    expect(decoded).toEqual({ frame: { type: 'message', content } })
    expect(JSON.parse(Buffer.from(encode({ type: 'echo', content })).toString())).toEqual({ type: 'echo', content })
  },
)

test('L6 only a JSON object is no plain text', () => {
  for (const text of ['{}', ' {"a":1}\n', '\t{}']) expect(isJsonObject(text), text).toBe(true)
  for (const text of ['', '{', '{a}', '[]', '[{}]', '1', 'null', '"{}"', '{}{}', '\ufeff{}', '{'.repeat(60_000)])
    expect(isJsonObject(text), text.slice(0, 20)).toBe(false)
})

test('an entry becomes its frame by one more field', () => {
  const entry = { type: 'message', content: 'a "}" b', client_id: 'c' }
  expect(JSON.parse(encodeEntry(JSON.stringify(entry), 7))).toEqual({ ...entry, offset: 7 })
})

test.each(['', 'x,"fair_key":"abc"', 'x,', '\\', '\\"', ',"fair_key":"abc"}'])(
  'Q4 whose turn it is goes to nobody, and a message that looks like it (%s) stays as it is',
  (content) => {
    const ofUser = { turn_id: 't', content, client_id: 'x', conversation_id: 'c' }
    for (const entry of [
      { type: 'user_message', ...ofUser },
      { type: 'typing', turn_id: 't', regenerates: content, id: content },
    ] as const) {
      expect(JSON.parse(encodeEntry(JSON.stringify({ ...entry, fair_key: 'abc' }), 7))).toEqual({ ...entry, offset: 7 })
      // As a store of a team's own may write it.
      const spaced = JSON.stringify({ ...entry, fair_key: 'abc', id: 'i' }, undefined, 1)
      expect(JSON.parse(encodeEntry(spaced, 7))).toEqual({ ...entry, id: 'i', offset: 7 })
      expect(JSON.parse(encodeEntry(JSON.stringify(entry), 7))).toEqual({ ...entry, offset: 7 })
    }
  },
)

test('L9 every error has a sentence for people, without a value', () => {
  for (const [code, { content, when }] of Object.entries(ERRORS)) {
    expect(content, code).toMatch(/^[A-Z].*\.$/)
    expect(when, code).toMatch(/\.$/)
  }
  expect(errorFrame('busy', { id: undefined })).toEqual({ type: 'error', code: 'busy', content: ERRORS.busy.content })
})
