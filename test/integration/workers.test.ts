import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createServer } from '../../src/server.ts'
import { ended, say } from '../support/chat-server.ts'
import { type Client, connect, textsOf } from '../support/client.ts'
import { until } from '../support/redis.ts'
import { spawnServer } from '../support/server.ts'
import { isAlive, spawnWorkers, type WorkersServer } from '../support/workers.ts'

/** Enough for the kernel's hash to give each of two workers some, but once in a million. */
const CONNECTIONS = 20

function connectAll(server: WorkersServer): Promise<Client[]> {
  return Promise.all(Array.from({ length: CONNECTIONS }, () => connect(`${server.url}/ai-chat/one`)))
}

/** Resolves when one worker has died, and a new one listens. */
async function replaced(server: WorkersServer): Promise<void> {
  await until(async () => {
    const { worker_restarts_total: restarts, ...others } = await server.metrics()
    return restarts === 1 && others['workers{state="listening"}'] === 2
  })
}

// Each starts three processes, and some wait for more.
describe('several workers', { timeout: 60_000 }, () => {
  test('two workers share the connections of one conversation; one is killed: the others stay, a new one comes, nothing is lost', async () => {
    const server = await spawnWorkers({ WORKERS: '2', SIMULATED_DELAY_MS: '50', MAX_CONNECTIONS: '1000' })
    expect(await server.admin('/healthz')).toEqual([200, 'ok: 2 of 2 workers are well\n'])
    expect(await server.admin('/readyz')).toEqual([200, 'ok\n'])
    // The supervisor itself serves nobody.
    expect(readFileSync(`/proc/${server.process.pid}/maps`, 'utf8')).not.toMatch(/uws/i)
    const clients = await connectAll(server)
    const [speaker] = clients as [Client, ...Client[]]
    const turn = await say(speaker, 'a b c d e f')
    await Promise.all(clients.map((client) => ended(client, turn)))
    const texts = new Set(clients.map(({ frames }) => textsOf(frames).get(turn)))
    expect([...texts]).toEqual([expect.stringContaining('a b c d e f')])
    const before = await server.metrics()
    expect(before).toMatchObject({
      connections: CONNECTIONS,
      connections_opened_total: CONNECTIONS,
      frames_received_total: 1,
      'workers{state="listening"}': 2,
      worker_restarts_total: 0,
    })

    const [, text] = await server.admin('/metrics')
    expect(execFileSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })).toBe('')

    const [victim = 0, survivor = 0] = server.pids()
    const lost = new Set<Client>()
    for (const client of clients) void client.closed.then(() => lost.add(client))
    process.kill(victim, 'SIGKILL')
    await replaced(server)
    const stayed = clients.filter((client) => !lost.has(client))
    expect(Math.min(lost.size, stayed.length)).toBeGreaterThan(0)
    expect(server.pids()).toContain(survivor)
    expect(server.pids()).not.toContain(victim)
    const returned = await Promise.all(
      [...lost].map(({ resumeQuery }) => connect(`${server.url}/ai-chat/one${resumeQuery}`)),
    )
    for (const client of returned) expect(await client.next('welcome')).toMatchObject({ resumed: true })
    const [one, other] = [stayed[0], returned[0]] as [Client, Client]
    const next = await say(other, 'again')
    await Promise.all([ended(one, next), ended(other, next)])

    const after = await server.metrics()
    expect(after).toMatchObject({ connections: CONNECTIONS, worker_restarts_total: 1 })
    // What the dead one had counted when it was last asked still counts.
    expect(after.connections_opened_total).toBe(CONNECTIONS + returned.length)
    expect(after.frames_received_total).toBe(2)

    await server.redis.kill()
    const unready = [503, expect.stringContaining('no worker is ready: Redis did not answer')]
    await expect.poll(() => server.admin('/readyz'), { timeout: 20_000 }).toEqual(unready)
    expect(await server.admin('/healthz')).toEqual([200, 'ok: 2 of 2 workers are well\n'])
  })

  test('a frozen worker does not hold up the admin port, and is killed and replaced within a few seconds; with none left, healthz says so', async () => {
    const server = await spawnWorkers({ WORKERS: '2' })
    const [frozen = 0] = server.pids()
    await connectAll(server)
    const { connections_opened_total: opened } = await server.metrics()
    const from = performance.now()
    process.kill(frozen, 'SIGSTOP')
    expect(await server.admin('/readyz')).toEqual([200, 'ok\n'])
    expect(await server.metrics()).toMatchObject({ connections_opened_total: opened })
    // About half of these wait for the frozen one.
    const late = Promise.allSettled(Array.from({ length: CONNECTIONS }, () => connect(`${server.url}/ws`)))
    await until(() => !isAlive(frozen))
    console.log(`a frozen worker was killed after ${Math.round(performance.now() - from)} ms`)
    await replaced(server)
    const lost = (await late).filter(({ status }) => status === 'rejected')
    // Where it could not be set, they are reset.
    if (readFileSync('/proc/sys/net/ipv4/tcp_migrate_req', 'utf8').startsWith('1')) expect(lost).toEqual([])
    expect(server.lines.join('\n')).toContain('takes too long')
    expect(await server.metrics()).toMatchObject({
      worker_restarts_total: 1,
      connections_opened_total: (opened ?? 0) + CONNECTIONS - lost.length,
    })

    for (const pid of server.pids()) process.kill(pid, 'SIGKILL')
    await until(async () => (await server.admin('/healthz'))[0] === 503)
    expect((await server.admin('/readyz'))[1]).toBe('no worker is ready: none listens\n')
    await until(async () => (await server.admin('/healthz'))[1] === 'ok: 2 of 2 workers are well\n')
  })

  test('L8 SIGTERM drains all workers: running turns end, and the supervisor ends last, with 0', async () => {
    const server = await spawnWorkers({ WORKERS: '2', SIMULATED_DELAY_MS: '100', DRAIN_MS: '10000' })
    const clients = await Promise.all(['a', 'b', 'c', 'd'].map((name) => connect(`${server.url}/ai-chat/${name}`)))
    const turns = await Promise.all(clients.map((client) => say(client, 'one two three')))
    const pids = server.pids()
    server.process.kill('SIGTERM')
    const outcomes = await Promise.all(clients.map((client, at) => ended(client, turns[at] ?? '')))
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(Array(4).fill('completed'))
    for (const client of clients) expect(await client.closed).toMatchObject({ code: 1001 })
    await until(() => server.process.exitCode !== null)
    expect(server.process.exitCode).toBe(0)
    expect(pids.filter(isAlive)).toEqual([])
  })

  test('workers that lose their supervisor drain and end by themselves', async () => {
    const server = await spawnWorkers({ WORKERS: '2', SIMULATED_DELAY_MS: '100', DRAIN_MS: '10000' })
    const client = await connect(`${server.url}/ai-chat/one`)
    const turn = await say(client, 'one two')
    const pids = server.pids()
    await server.kill('SIGKILL')
    expect(await ended(client, turn)).toMatchObject({ outcome: 'completed' })
    await until(() => !pids.some(isAlive))
  })

  test('each worker has its share of MAX_CONNECTIONS; a second signal ends all at once', async () => {
    const env = { SIMULATED_DELAY_MS: '1000', DRAIN_MS: '60000', MAX_CONNECTIONS: '2' }
    const server = await spawnWorkers({ WORKERS: '2', ...env })
    const closes = new Map<Client, number>()
    const clients = await connectAll(server)
    for (const client of clients) void client.closed.then(({ code }) => closes.set(client, code))
    await until(() => closes.size === CONNECTIONS - 2)
    expect(new Set(closes.values())).toEqual(new Set([1013]))

    const client = clients.find((each) => !closes.has(each)) as Client
    await say(client, 'one two three four')
    // Of both workers together, and the other one has none.
    await until(async () => (await server.metrics())['llm_running{route="ai-chat"}'] === 1)
    const pids = server.pids()
    server.process.kill('SIGINT')
    await client.next('draining')
    server.process.kill('SIGINT')
    await until(() => server.process.exitCode !== null)
    expect(server.process.exitCode).toBe(1)
    await until(() => !pids.some(isAlive))
  })

  test('one process alone has nothing to reload: it says so, and goes on', async () => {
    const server = await spawnServer({ STORE: 'memory' })
    server.process.kill('SIGHUP')
    await until(() => server.lines.some((line) => line.includes('one process alone cannot be reloaded; it goes on')))
    expect((await connect(`${server.url}/ws`)).ws.readyState).toBe(1)
  })

  test('as a library, a server is one process, and does not ignore in silence that more are asked for', () => {
    const config = loadConfig({ WORKERS: '2', REDIS_URL: 'redis://127.0.0.1:1' })
    expect(() => createServer(config)).toThrow('WORKERS is 2, but createServer makes one process')
  })
})
