import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { until } from '../support/redis.ts'
import { temporaryDirectory } from '../support/server.ts'

const WORKERS = 2

/** A supervisor of processes that listen, as far as it knows, when the test lets them; its log's messages. */
async function createGatedSupervisor() {
  const waiting = new Set<Socket>()
  const gate = createServer((socket) => {
    waiting.add(socket)
    socket
      .resume()
      .on('error', () => {})
      .on('close', () => waiting.delete(socket))
  }).listen(0, '127.0.0.1')
  await once(gate, 'listening')
  onTestFinished(() => void gate.close())
  const file = join(temporaryDirectory(), 'worker.mjs')
  writeFileSync(
    file,
    `import { connect } from 'node:net'
    const socket = connect(${(gate.address() as AddressInfo).port}, '127.0.0.1')
    socket.once('data', () => process.send({ type: 'listening', port: 1 }))
    process.on('message', ({ type, id }) => type === 'ask' ? process.send({ type: 'life', id }) : process.exit(0))`,
  )
  const lines: string[] = []
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
  const config = loadConfig({ WORKERS: `${WORKERS}`, REDIS_URL: 'redis://127.0.0.1:1', PORT: '0', ADMIN_PORT: '0' })
  const supervisor = createSupervisor(config, logger, file)
  onTestFinished(() => supervisor.stop())
  return {
    supervisor,
    count: (message: string) => lines.filter((line) => line === message).length,
    /** Resolves when this many processes wait to be let in. */
    whenWaiting: (number: number) => until(() => waiting.size === number),
    letIn() {
      for (const socket of waiting) socket.end('go')
      waiting.clear()
    },
  }
}

test('reloads that are asked for during the start are said to wait, and are done once, when all workers listen', async () => {
  const { supervisor, count, whenWaiting, letIn } = await createGatedSupervisor()
  supervisor.reload()
  const started = supervisor.start()
  await whenWaiting(WORKERS)
  supervisor.reload()
  expect(count('the reload waits until all workers listen')).toBe(2)
  expect(count('reloading')).toBe(0)
  letIn()
  await started
  for (let worker = 0; worker < WORKERS; worker++) {
    await whenWaiting(1)
    expect([count('reloading'), count('reloaded')]).toEqual([1, 0])
    letIn()
  }
  await until(() => count('reloaded') === 1)
  expect([count('reloading'), count('a worker listens')]).toEqual([1, 2 * WORKERS])
})
