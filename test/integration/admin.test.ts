import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { LogError } from '../../src/log/channel-log.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { listenAdmin } from '../../src/transport/admin-server.ts'
import { connect } from '../support/client.ts'
import { startServer, type TestServer } from '../support/server.ts'

async function ask(server: TestServer, path: string, init: RequestInit = {}) {
  const response = await fetch(`http://127.0.0.1:${server.adminPort}${path}`, init)
  return [response.status, await response.text()]
}

test('healthz and readyz say ok', async () => {
  const server = await startServer()
  for (const path of ['/healthz', '/readyz', '/readyz?verbose=1'])
    expect(await ask(server, path)).toEqual([200, 'ok\n'])
  expect(await ask(server, '/healthz', { method: 'HEAD' })).toEqual([200, ''])
})

test('what is asked is answered anew each time', async () => {
  const server = await startServer()
  const { headers } = await fetch(`http://127.0.0.1:${server.adminPort}/readyz`)
  expect(headers.get('cache-control')).toBe('no-store')
})

test('readyz tells of a broken log, and of its repair, while healthz stays well', async () => {
  const log = createMemoryLog()
  let isBroken = true
  const check = () => (isBroken ? Promise.reject(new LogError('failed', 'the disk is full')) : log.check())
  const server = await startServer({}, { log: { ...log, check } })
  expect(await ask(server, '/readyz')).toEqual([503, 'the disk is full\n'])
  expect(await ask(server, '/healthz')).toEqual([200, 'ok\n'])
  isBroken = false
  expect(await ask(server, '/readyz')).toEqual([200, 'ok\n'])
})

/** The server's own numbers, without those of its process. */
async function metrics(server: TestServer): Promise<Record<string, number>> {
  const [, text] = await ask(server, '/metrics')
  const rows = [...String(text).matchAll(/^statewire_(.+) (\S+)$/gm)]
  return Object.fromEntries(rows.map(([, name, value]) => [name, Number(value)]))
}

/** Nobody asks a model in this file. */
const IDLE_QUEUES = Object.fromEntries(
  ['running', 'waiting'].flatMap((what) => ['ai-chat', 'chat'].map((route) => [`llm_${what}{route="${route}"}`, 0])),
)

test('metrics counts connections, frames, closes, refusals and cuts', async () => {
  const server = await startServer()
  expect(await metrics(server)).toEqual({
    ...IDLE_QUEUES,
    connections: 0,
    connections_opened_total: 0,
    frames_received_total: 0,
    frames_sent_total: 0,
  })
  const [stays, leaves, isOdd] = await Promise.all(['ws', 'ws', 'ws'].map((path) => connect(`${server.url}/${path}`)))
  stays?.send({ type: 'ping' })
  await stays?.next('pong')
  // A code of the client's own choice is no label.
  leaves?.ws.close(1000)
  isOdd?.ws.close(4321)
  await Promise.all([leaves?.closed, isOdd?.closed])
  await expect(connect(`${server.url}/nowhere`)).rejects.toThrow()
  expect(await metrics(server)).toEqual({
    ...IDLE_QUEUES,
    connections: 1,
    connections_opened_total: 3,
    frames_received_total: 1,
    frames_sent_total: 1,
    'closes_total{code="1000"}': 1,
    'closes_total{code="other"}': 1,
    'refused_upgrades_total{status="404"}': 1,
  })
  stays?.cut()
  await expect.poll(() => metrics(server)).toMatchObject({ connections: 0, 'closes_total{code="1006"}': 1 })
  const cuts = Object.entries(await metrics(server)).filter(([name]) => /^cuts_total\{reason="[A-Z].+"\}$/.test(name))
  expect(cuts.map(([, number]) => number)).toEqual([1])
})

test('metrics is what Prometheus reads, with the numbers of the process, and promtool has nothing to say', async () => {
  const server = await startServer()
  const response = await fetch(`http://127.0.0.1:${server.adminPort}/metrics`)
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const text = await response.text()
  expect(text).toMatch(/^process_cpu_seconds_total \d/m)
  expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds \d/m)
  expect(execFileSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })).toBe('')
  expect(await ask(server, '/metrics', { method: 'HEAD' })).toEqual([200, ''])
  expect((await ask(server, '/metrics', { method: 'POST' }))[0]).toBe(405)
})

test('other paths are 404, other methods 405', async () => {
  const server = await startServer()
  for (const path of ['/', '/health', '/healthz/', '/metrics/'])
    expect(await ask(server, path)).toEqual([404, expect.stringContaining('/healthz, /readyz and /metrics')])
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS'])
    expect((await ask(server, '/healthz', { method }))[0]).toBe(405)
})

test('the admin port has no WebSocket, and the main port no healthz', async () => {
  const server = await startServer()
  await expect(connect(`ws://127.0.0.1:${server.adminPort}/ws`)).rejects.toThrow()
  expect((await fetch(`http://127.0.0.1:${server.port}/healthz`)).status).toBe(404)
})

test('a port that is taken is told with the names of its variables, and nothing keeps listening', async () => {
  const first = await startServer()
  for (const [PORT, ADMIN_PORT, names] of [
    [first.port, 0, 'HOST, PORT'],
    [0, first.adminPort, 'ADMIN_HOST, ADMIN_PORT'],
  ] as const) {
    const taken = PORT || ADMIN_PORT
    const starting = startServer({ PORT: String(PORT), ADMIN_PORT: String(ADMIN_PORT) })
    await expect(starting).rejects.toThrow(`cannot listen on 127.0.0.1:${taken} (${names}): `)
  }
  const client = await connect(`${first.url}/room/a`)
  expect(await client.next('presence')).toMatchObject({ members: [{}] })
})

test('an address that is not this machine is told', async () => {
  const listening = listenAdmin({
    config: { ADMIN_HOST: '192.0.2.1', ADMIN_PORT: 0 },
    health: () => ({ ok: true, text: 'ok' }),
    readiness: async () => undefined,
    metrics: { text: async () => '' },
  })
  await expect(listening).rejects.toThrow('cannot listen on 192.0.2.1:0 (ADMIN_HOST, ADMIN_PORT): EADDRNOTAVAIL')
  await expect(startServer({ HOST: '192.0.2.1' })).rejects.toThrow('cannot listen on 192.0.2.1:0 (HOST, PORT): ')
})
