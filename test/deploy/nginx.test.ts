import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { ask, ended, say, settled } from '../support/chat-server.ts'
import { connect, textsOf } from '../support/client.ts'
import { startRedis } from '../support/redis.ts'
import { type Env, spawnServer, startServer } from '../support/server.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { startHaproxy, startNginx } from './proxies.ts'

const NGINX = fileURLToPath(new URL('../../deploy/nginx/', import.meta.url))
const SECOND_MS = 1_000
const NEWCOMERS = 8
/** At 4 a second: twice the proxy's timeout in that test. */
const PINGS_BEYOND_TIMEOUT = 8

const NAMES = ['asked-by-a', 'asked-by-b']

/** Two nodes over one Redis, each known to the model that they ask by a name of its own. */
async function startNodes<N extends { readonly url: string }>(start: (env: Env) => Promise<N>, more: Env = {}) {
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const env = { REDIS_URL: redis.url, OPENAI_BASE_URL: upstream.baseUrl, ...more }
  const nodes = await Promise.all(NAMES.map((MODEL) => start({ ...env, MODEL })))
  return { upstream, nodes, ports: nodes.map(({ url }) => Number(new URL(url).port)) }
}

/** A turn in mid-answer through a proxy, and the index of the node that runs it. */
async function streamThrough(port: number, upstream: Upstream) {
  const url = `ws://127.0.0.1:${port}/ai-chat/one`
  // As a page of this proxy does: without the port in Host, the server would refuse the Origin.
  const client = await connect(url, { origin: `http://127.0.0.1:${port}` })
  const answer = upstream.hold()
  const turn = await say(client, 'hello')
  const { body } = await answer.requested
  answer.say('as far ')
  answer.say('as here')
  await expect.poll(() => textsOf(client.frames).get(turn)).toBe('as far as here')
  return { url, client, answer, turn, owner: NAMES.indexOf(body.model) }
}

test('a conversation through nginx; its node is killed in mid-stream, and its client resumes on the other one', async () => {
  const { upstream, nodes, ports } = await startNodes(spawnServer)
  const { port } = await startNginx(ports)
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toContain('<!doctype html>')
  const { url, client, turn, owner } = await streamThrough(port, upstream)
  const witness = await connect(url)
  await nodes[owner]?.kill()
  expect((await client.closed).code).toBe(1006)
  const returned = await connect(url + client.resumeQuery)
  expect(await returned.next('welcome')).toMatchObject({ resumed: true })
  expect(await ended(returned, turn)).toMatchObject({ outcome: 'interrupted' })
  // Nothing is sticky: whoever came second was sent to the node that had nobody yet.
  await ended(witness, turn)
  expect(textsOf(witness.frames).get(turn)).toBe('as far as here')
  returned.send({ type: 'regenerate' })
  expect(await returned.next('ai_stream_end')).toMatchObject({ outcome: 'completed' })
})

test('L8 a node drains behind nginx: its answer goes on, and whoever comes meanwhile is served by the other one', async () => {
  const { upstream, nodes, ports } = await startNodes(startServer, { DRAIN_MS: '20000' })
  const { port } = await startNginx(ports)
  const { url, client, answer, turn, owner } = await streamThrough(port, upstream)
  const stopping = nodes[owner]?.stop()
  await client.next('draining')
  for (let n = 0; n < NEWCOMERS; n++) await (await connect(url)).next('welcome')
  answer.say(', and on')
  answer.finish()
  expect(await ended(client, turn)).toMatchObject({ outcome: 'completed' })
  expect((await client.closed).code).toBe(1001)
  await stopping
  expect(textsOf(client.frames).get(turn)).toBe('as far as here, and on')
})

test('H1 the heartbeat keeps idle connections through nginx beyond its timeouts, which cut what is silent', async () => {
  const changes = [[/proxy_(read|send)_timeout 60s/g, 'proxy_$1_timeout 1s']] as const
  const [beating, silent] = [
    await startServer({ HEARTBEAT_INTERVAL_MS: '250' }),
    await startServer({ HEARTBEAT_INTERVAL_MS: '30000' }),
  ]
  const kept = await connect(`ws://127.0.0.1:${(await startNginx([beating.port], { changes })).port}/chat`)
  const cut = await connect(`ws://127.0.0.1:${(await startNginx([silent.port], { changes })).port}/chat`)
  for (let pings = 0; pings < PINGS_BEYOND_TIMEOUT; pings++) await once(kept.ws, 'ping')
  expect((await cut.closed).code).toBe(1006)
  await settled(kept)
})

test('the timeouts of the shipped configuration are longer than the default heartbeat', () => {
  const { HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS } = loadConfig({})
  const timeouts = [...read('proxy.conf').matchAll(/proxy_(?:read|send)_timeout (\d+)s;/g)].map(([, s]) => Number(s))
  expect(timeouts).toHaveLength(2)
  for (const s of timeouts) expect(s * SECOND_MS).toBeGreaterThan(HEARTBEAT_INTERVAL_MS + HEARTBEAT_TIMEOUT_MS)
})

test('an address is counted by what nginx says of it, never by what the client says', async () => {
  const server = await startServer({ TRUSTED_PROXIES: '127.0.0.1', MAX_CONNECTIONS_PER_IP: '1' })
  const { port } = await startNginx([server.port])
  const through = (localAddress: string, claim: string) =>
    connect(`ws://127.0.0.1:${port}/chat`, { localAddress, headers: { 'x-forwarded-for': claim } })
  await (await through('127.0.0.2', '10.0.0.1')).next('welcome')
  expect((await (await through('127.0.0.2', '10.0.0.2')).closed).code).toBe(1008)
  await (await through('127.0.0.3', '10.0.0.1')).next('welcome')
  const direct = { localAddress: '127.0.0.2', headers: { 'x-forwarded-for': '10.0.0.3' } }
  expect((await (await connect(`${server.url}/chat`, direct)).closed).code).toBe(1008)
})

test('wss: TLS ends at nginx, and plain requests are sent there', async () => {
  const server = await startServer({ TRUSTED_PROXIES: '127.0.0.1' })
  const { port, plainPort } = await startNginx([server.port], { tls: true })
  const client = await connect(`wss://127.0.0.1:${port}/chat/one`, {
    rejectUnauthorized: false,
    origin: `https://127.0.0.1:${port}`,
  })
  await ask(client, 'hello')
  const { status, headers } = await fetch(`http://127.0.0.1:${plainPort}/chat?a=b`, { redirect: 'manual' })
  expect([status, headers.get('location')]).toEqual([301, 'https://127.0.0.1/chat?a=b'])
})

test('HAProxy: a node that drains gets nobody new, and the address of a client is its own', async () => {
  const env = { TRUSTED_PROXIES: '127.0.0.1', MAX_CONNECTIONS_PER_IP: '1' }
  const nodes = await Promise.all([startServer(env), startServer(env)])
  const { port } = await startHaproxy(nodes)
  const through = (localAddress: string) =>
    connect(`ws://127.0.0.1:${port}/chat/one`, {
      localAddress,
      origin: `http://127.0.0.1:${port}`,
      headers: { 'x-forwarded-for': '10.0.0.1' },
    })
  await ask(await through('127.0.0.2'), 'hello')
  await nodes[0].stop()
  for (let n = 0; n < NEWCOMERS; n++) await ask(await through(`127.0.1.${n}`), 'hello')
  expect((await (await through('127.0.1.0')).closed).code).toBe(1008)
})

function read(name: string): string {
  return readFileSync(join(NGINX, name), 'utf8')
}
