import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { isLong } from '../../support/faults/fault-run.ts'
import { createNetwork, type Network } from '../../support/network.ts'
import { frameBytes, OPCODE } from '../../support/raw-client.ts'
import { until } from '../../support/redis.ts'
import { isAlive } from '../../support/workers.ts'

const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url))
const RELOADS = isLong ? 10 : 1
/** In `npm run test:faults`; a frozen worker takes five seconds to be noticed, which `workers.test.ts` waits for once. */
const FREEZES = isLong ? RELOADS : 0
const MS_A_ROUND = 30_000
/** Streams of connections, each of which makes the next when the last is done. They compete with what they wait for. */
const STREAMS = isLong ? 4 : 2
/** Connections made at once while a worker is frozen: about half of them meet it. */
const AT_ONCE = 40
const WORKERS = 2
const [PORT, REDIS_PORT] = [8000, 6379]
const LINE = '{"type":"ping"}'

/** Starts a program of the network, and ends it when the test has finished. */
function start(network: Network, program: string, args: string[], env: Record<string, string> = {}): ChildProcess {
  const [first, ...rest] = network.within(program, args)
  const child = spawn(first, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
  })
  return child
}

/** Two workers and their Redis, all in the network, whose ports are nobody else's. */
async function startServer(network: Network) {
  const args = ['--port', `${REDIS_PORT}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', '/tmp']
  const redis = start(network, 'redis-server', args)
  await new Promise<void>((resolve) => {
    createInterface({ input: redis.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (line.includes('Ready to accept connections')) resolve()
    })
  })
  const server = start(network, process.execPath, ['--disable-warning=ExperimentalWarning', MAIN], {
    WORKERS: `${WORKERS}`,
    HOST: network.address,
    PORT: `${PORT}`,
    REDIS_URL: `redis://127.0.0.1:${REDIS_PORT}`,
    DRAIN_MS: '0',
  })
  const messages: string[] = []
  let isUp = false
  createInterface({ input: server.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    const { msg, workers } = JSON.parse(line)
    messages.push(msg)
    if (msg === 'listening' && workers === WORKERS) isUp = true
  })
  await until(() => isUp)
  const count = (message: string) => messages.filter((one) => one === message).length
  return { server, count }
}

/** Connects, upgrades, says one line and hears its answer. Answers `served`, or where it went wrong and how. */
function ask(address: string): Promise<string> {
  return new Promise((resolve) => {
    let stage = 'connecting'
    let heard = ''
    const socket = connect(PORT, address)
    const end = (how: string) => {
      resolve(how)
      // By a reset: each port that waits for a minute is one that the next connections lack.
      socket.resetAndDestroy()
    }
    socket.on('error', (error: NodeJS.ErrnoException) => end(`${stage}: ${error.code}`))
    socket.on('close', () => end(`${stage}: closed`))
    socket.on('connect', () => {
      stage = 'upgrading'
      const key = randomBytes(16).toString('base64')
      const headers = `Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}`
      socket.write(`GET /ws HTTP/1.1\r\n${headers}\r\n\r\n`)
    })
    socket.on('data', (data) => {
      heard += data.toString('latin1')
      if (stage === 'upgrading' && heard.includes('\r\n\r\n')) {
        stage = 'asking'
        socket.write(frameBytes(OPCODE.text, LINE))
      }
      if (heard.includes('pong')) end('served')
    })
  })
}

function tally(outcomes: readonly string[]): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(outcomes, String)].map(([how, all]) => [how, all.length]))
}

/** Reloads again and again under a steady stream of connections; answers how these went. */
async function reloadUnderConnections(network: Network, { server, count }: Awaited<ReturnType<typeof startServer>>) {
  const outcomes: string[] = []
  let isOver = false
  const streams = Array.from({ length: STREAMS }, async () => {
    while (!isOver) outcomes.push(await ask(network.address))
  })
  for (let round = 1; round <= RELOADS; round++) {
    server.kill('SIGHUP')
    await until(() => count('reloaded') === round)
  }
  isOver = true
  await Promise.all(streams)
  expect(count('a worker listens')).toBe(WORKERS + WORKERS * RELOADS)
  return outcomes
}

const title = 'SIGHUP replaces the workers under a steady stream of connections: none is refused, none is reset'
test(title, { timeout: MS_A_ROUND * (RELOADS + 1) }, async ({ skip }) => {
  const network = createNetwork()
  if (network === undefined) return skip('no network namespace can be made here')
  const started = await startServer(network)
  expect(started.count('connections that a worker leaves unaccepted now go to another one')).toBe(1)
  const outcomes = await reloadUnderConnections(network, started)
  console.log(`two workers replaced ${RELOADS} times under ${outcomes.length} connections`)
  expect(tally(outcomes)).toEqual({ served: outcomes.length })
})

test.runIf(isLong)(
  'without net.ipv4.tcp_migrate_req a few are reset, and nothing else happens to any',
  { timeout: MS_A_ROUND * (RELOADS + 1) },
  async ({ skip }) => {
    const network = createNetwork()
    if (network === undefined) return skip('no network namespace can be made here')
    const started = await startServer(network)
    const [program, ...args] = network.within('sysctl', ['-w', 'net.ipv4.tcp_migrate_req=0'])
    execFileSync(program, args)
    const outcomes = await reloadUnderConnections(network, started)
    const { served = 0, ...others } = tally(outcomes)
    console.log(`without tcp_migrate_req: ${outcomes.length - served} of ${outcomes.length} connections reset`)
    for (const how of Object.keys(others)) expect(how).toMatch(/: (?:ECONNRESET|closed)$/)
  },
)

if (FREEZES > 0) {
  const title =
    'a worker is frozen again and again: who was to be accepted by it is served by another, once it is killed'
  test(title, { timeout: MS_A_ROUND * (FREEZES + 1) }, async ({ skip }) => {
    const network = createNetwork()
    if (network === undefined) return skip('no network namespace can be made here')
    const { server, count } = await startServer(network)
    for (let round = 1; round <= FREEZES; round++) {
      // `ip netns exec` has become the server: it has no process of its own.
      const frozen = Number(readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').split(' ')[0])
      process.kill(frozen, 'SIGSTOP')
      const outcomes = await Promise.all(Array.from({ length: AT_ONCE }, () => ask(network.address)))
      expect(tally(outcomes)).toEqual({ served: AT_ONCE })
      await until(() => !isAlive(frozen) && count('a worker listens') === WORKERS + round)
    }
    console.log(`a worker was frozen ${FREEZES} times under ${AT_ONCE} new connections each`)
  })
}
