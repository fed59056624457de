import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import WebSocket from 'ws'
import { type ServerProcess, spawnServer, temporaryDirectory } from '../support/server.ts'

/** A client that knows the tutorial only: it parses what comes, and looks at `type`. */
async function open(server: ServerProcess, path: string, options: WebSocket.ClientOptions = {}) {
  const ws = new WebSocket(`${server.url}${path}`, options)
  onTestFinished(() => ws.terminate())
  const texts: string[] = []
  let look = () => {}
  ws.on('message', (data) => {
    texts.push(data.toString())
    look()
  })
  await once(ws, 'open')
  return {
    ws,
    /** The first message, not yet taken, that fulfils a condition. */
    next(where: (message: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
      return new Promise((resolve) => {
        look = () => {
          while (texts.length > 0) {
            const message = JSON.parse(texts.shift() ?? '')
            if (!where(message)) continue
            look = () => {}
            return resolve(message)
          }
        }
        look()
      })
    },
    async nextText() {
      if (texts.length === 0) await once(ws, 'message')
      return texts.shift()
    },
  }
}

const start = (env = {}) => spawnServer({ DATA_DIR: temporaryDirectory(), ...env })

test('L6 wscat on /ws (tutorial 1.1) gets its text back', async () => {
  const { ws, nextText } = await open(await start(), '/ws')
  ws.send('你好')
  expect(await nextText()).toBe('你好')
})

test('L6 /ws answers message with echo and ping with pong (tutorial 1.3)', async () => {
  const { ws, nextText } = await open(await start(), '/ws')
  ws.send(JSON.stringify({ type: 'message', content: '你好' }))
  expect(JSON.parse((await nextText()) ?? '')).toEqual({ type: 'echo', content: '你好' })
  ws.send(JSON.stringify({ type: 'ping' }))
  expect(JSON.parse((await nextText()) ?? '')).toEqual({ type: 'pong' })
})

test('H3 a client whose only answer to a ping is {"type":"pong"} stays (tutorial 2.2); a mute one is closed', async () => {
  const server = await start({ HEARTBEAT_INTERVAL_MS: '100', HEARTBEAT_TIMEOUT_MS: '100' })
  const [answering, mute] = await Promise.all([
    open(server, '/ai-chat/beat', { autoPong: false }),
    open(server, '/ai-chat/beat', { autoPong: false }),
  ])
  let pings = 0
  answering.ws.on('ping', () => {
    pings++
    answering.ws.send(JSON.stringify({ type: 'pong' }))
  })
  answering.ws.on('message', (data) => {
    if (JSON.parse(data.toString()).type === 'ping') answering.ws.send(JSON.stringify({ type: 'pong' }))
  })
  const [code] = await once(mute.ws, 'close')
  expect(code).toBe(4408)
  while (pings < 3) await once(answering.ws, 'ping')
  answering.ws.send(JSON.stringify({ type: 'ping' }))
  expect(await answering.next(({ type }) => type === 'pong')).toEqual({ type: 'pong' })
})

test('R1 R2 R3 a room (tutorial 4.1) tells who came, what was said, and who left', async () => {
  const server = await start()
  const first = await open(server, '/room/lobby')
  await first.next(({ type }) => type === 'presence')
  const second = await open(server, '/room/lobby')
  const joined = await first.next(({ type }) => type === 'user_joined')
  expect(joined.content).toBe(`user ${joined.client_id} joined the room`)

  second.ws.send(JSON.stringify({ type: 'message', content: '大家好' }))
  const isMessage = ({ type }: Record<string, unknown>) => type === 'message'
  const said = { type: 'message', client_id: joined.client_id, content: '大家好' }
  expect(await first.next(isMessage)).toMatchObject(said)
  expect(await second.next(isMessage)).toMatchObject(said)

  second.ws.close()
  const left = await first.next(({ type }) => type === 'user_left')
  expect(left).toMatchObject({ client_id: joined.client_id, content: `user ${joined.client_id} left the room` })
})

test('Q2 more than ten messages a second (tutorial 4.2, 7) get an error in words, and the connection stays', async () => {
  const server = await start({ RATE_LIMIT: '' })
  const { ws, next } = await open(server, '/ws')
  for (let sent = 0; sent < 12; sent++) ws.send(JSON.stringify({ type: 'message', content: `${sent}` }))
  const error = await next(({ type }) => type === 'error')
  expect(error).toMatchObject({ code: 'rate_limited', content: expect.stringMatching(/\w+/) })
  ws.send(JSON.stringify({ type: 'ping' }))
  expect(await next(({ type }) => type === 'pong')).toEqual({ type: 'pong' })
})
