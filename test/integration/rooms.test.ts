import { expect, test } from 'vitest'
import { type Client, connect } from '../support/client.ts'
import { startServer, type TestServer } from '../support/server.ts'

/** Joins and answers when it is live, with its `client_id`. */
async function join(server: TestServer, query = ''): Promise<Client & { client_id: string }> {
  const client = await connect(`${server.url}/room/a${query}`)
  const { connection_id } = await client.next('welcome')
  await client.next('presence')
  return Object.assign(client, { client_id: String(connection_id) })
}

const typesOf = ({ frames }: Client) => frames.map(({ type }) => type)

async function settle(...clients: Client[]): Promise<void> {
  for (const client of clients) {
    client.send({ type: 'ping' })
    await client.next('pong')
  }
}

test('R1 a joiner gets presence, itself included; the others get user_joined, once', async () => {
  const server = await startServer()
  const ann = await join(server)
  const bob = await join(server)
  const cid = await join(server)
  const here = [ann, bob, cid].map(({ client_id }) => ({ client_id }))
  expect(new Set(here.map(({ client_id }) => client_id)).size).toBe(3)
  expect(ann.frames[1]).toEqual({ type: 'presence', members: here.slice(0, 1) })
  expect(bob.frames[1]).toEqual({ type: 'presence', members: here.slice(0, 2) })
  expect(cid.frames[1]).toEqual({ type: 'presence', members: here })
  for (const other of [bob, cid])
    expect(await ann.next('user_joined')).toEqual({
      type: 'user_joined',
      client_id: other.client_id,
      content: expect.stringContaining(other.client_id),
    })
  await settle(ann, bob, cid)
  expect(typesOf(ann)).toEqual(['welcome', 'presence', 'user_joined', 'user_joined', 'pong'])
  expect(typesOf(bob)).toEqual(['welcome', 'presence', 'user_joined', 'pong'])
  expect(typesOf(cid)).toEqual(['welcome', 'presence', 'pong'])
})

test('R1 presence comes after the snapshot', async () => {
  const server = await startServer()
  const ann = await join(server)
  ann.send({ type: 'message', content: 'hello', id: 'h' })
  const message = await ann.next('message')
  const bob = await join(server)
  expect(typesOf(bob)).toEqual(['welcome', 'history', 'presence'])
  expect(bob.frames[1]).toEqual({
    type: 'history',
    messages: [{ role: 'user', content: 'hello', id: 'h', client_id: ann.client_id }],
    offset: message.offset,
  })
})

test('R2 a message is shown to every member, the sender included, in one order', async () => {
  const server = await startServer()
  const members = [await join(server), await join(server), await join(server)]
  for (const [at, member] of members.entries())
    for (const n of [1, 2]) member.send({ type: 'message', content: `${at}-${n}`, id: `${at}-${n}` })
  const seen: object[][] = []
  for (const member of members) {
    const messages: object[] = []
    for (let count = 0; count < 6; count++) messages.push(await member.next('message'))
    seen.push(messages)
  }
  expect(seen[1]).toEqual(seen[0])
  expect(seen[2]).toEqual(seen[0])
  expect(seen[0]).toContainEqual({
    type: 'message',
    content: '1-2',
    id: '1-2',
    client_id: members[1]?.client_id,
    offset: expect.any(Number),
  })
  const offsets = (seen[0] ?? []).map((message) => ('offset' in message ? Number(message.offset) : 0))
  expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b))
})

test('R2 rooms are apart', async () => {
  const server = await startServer()
  const here = await join(server)
  const there = await connect(`${server.url}/room/b`)
  await there.next('presence')
  here.send({ type: 'message', content: 'only here' })
  here.send({ type: 'typing' })
  await here.next('message')
  await settle(there)
  expect(typesOf(there)).toEqual(['welcome', 'presence', 'pong'])
})

test('R2 C7 a repeated id writes nothing and is answered to its sender alone', async () => {
  const server = await startServer()
  const [ann, bob] = [await join(server), await join(server)]
  ann.send({ type: 'message', content: 'first', id: 'same' })
  const stored = await ann.next('message')
  await bob.next('message')
  ann.send({ type: 'message', content: 'second', id: 'same' })
  expect(await ann.next('message')).toEqual(stored)
  ann.send({ type: 'message', content: 'third', id: 'other' })
  expect(await bob.next('message')).toMatchObject({ content: 'third', offset: Number(stored.offset) + 1 })
  expect(bob.frames.filter(({ type }) => type === 'message')).toHaveLength(2)
})

test('R2 messages without an id are never repeats of each other', async () => {
  const server = await startServer()
  const ann = await join(server)
  for (let times = 0; times < 3; times++) ann.send({ type: 'message', content: 'same' })
  for (const offset of [1, 2, 3]) expect(await ann.next('message')).toMatchObject({ content: 'same', offset })
})

test('R2 who comes back gets exactly what was missed', async () => {
  const server = await startServer()
  const [ann, bob] = [await join(server), await join(server)]
  ann.send({ type: 'message', content: 'seen' })
  await bob.next('message')
  await bob.close()
  for (const content of ['missed one', 'missed two']) ann.send({ type: 'message', content })
  await ann.next('message', ({ content }) => content === 'missed two')
  const again = await join(server, bob.resumeQuery)
  expect(again.frames[0]).toMatchObject({ resumed: true, offset: 1 })
  expect(typesOf(again)).toEqual(['welcome', 'message', 'message', 'presence'])
  expect(again.frames.slice(1, 3)).toMatchObject([
    { content: 'missed one', offset: 2 },
    { content: 'missed two', offset: 3 },
  ])
})

test.each([
  ['a close', (client: Client) => client.close()],
  ['a cut', async (client: Client) => client.cut()],
  ['a breach', async (client: Client) => client.ws.send(Buffer.from('binary'))],
])('R3 after %s the others get user_left, once', async (_, end) => {
  const server = await startServer()
  const [ann, bob, cid] = [await join(server), await join(server), await join(server)]
  await end(bob)
  for (const other of [ann, cid])
    expect(await other.next('user_left')).toEqual({
      type: 'user_left',
      client_id: bob.client_id,
      content: expect.stringContaining(bob.client_id),
    })
  const dan = await join(server)
  expect(dan.frames[1]).toMatchObject({ members: [ann, cid, dan].map(({ client_id }) => ({ client_id })) })
  await settle(ann, cid)
  for (const other of [ann, cid]) expect(typesOf(other).filter((type) => type === 'user_left')).toHaveLength(1)
})

test('R3 one that was refused before it joined is not told', async () => {
  const server = await startServer(
    {},
    {
      authorize: (principal) => principal.id === 'ann',
      authenticate: ({ query }) => ({ id: query.get('user') ?? '?' }),
    },
  )
  const ann = await join(server, '?user=ann')
  await (await connect(`${server.url}/room/a?user=bob`)).closed
  await settle(ann)
  expect(typesOf(ann)).toEqual(['welcome', 'presence', 'pong'])
})

test('R3 many who come and go at once are each told once', async () => {
  const server = await startServer()
  const ann = await join(server)
  const guests = await Promise.all(Array.from({ length: 20 }, () => join(server)))
  const ids = guests.map(({ client_id }) => client_id).sort()
  for (const guest of guests) guest.cut()
  for (const _ of guests) await ann.next('user_left')
  const told = (type: string) => ann.frames.filter((frame) => frame.type === type).map(({ client_id }) => client_id)
  expect(told('user_joined').sort()).toEqual(ids)
  expect(told('user_left').sort()).toEqual(ids)
})

test('C13 typing is a signal to the other members', async () => {
  const server = await startServer()
  const [ann, bob] = [await join(server), await join(server)]
  ann.send({ type: 'typing' })
  expect(await bob.next('typing')).toEqual({ type: 'typing', client_id: ann.client_id })
  await settle(ann)
  expect(typesOf(ann)).not.toContain('typing')
})

test.each([
  { type: 'user_message', content: 'a', id: 'i' },
  { type: 'regenerate', id: 'i' },
  { type: 'conversation_start', id: 'i' },
  { type: 'conversation_end', id: 'i' },
  { type: 'stop' },
])('R4 L7 $type is illegal in a room, which says what is legal', async (frame) => {
  const server = await startServer()
  const ann = await join(server)
  ann.send(frame)
  const error = await ann.next('error')
  expect(error).toMatchObject({ code: 'illegal', ...('id' in frame && { id: 'i' }) })
  expect(error.legal).toEqual(['typing', 'message', 'ping', 'pong'])
  ann.send({ type: 'message', content: 'still here' })
  expect(await ann.next('message')).toMatchObject({ offset: 1 })
})
