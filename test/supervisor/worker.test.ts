import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { createWorkers, type Worker } from '../../src/supervisor/worker.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { until } from '../support/redis.ts'
import { temporaryDirectory } from '../support/server.ts'
import { isAlive } from '../support/workers.ts'

const LISTEN = `process.send({ type: 'listening', port: 1234 })`
const STAY = `process.on('message', () => {})`
const ANSWER = `process.on('message', ({ type, id }) => type === 'ask' ? process.send({ type: 'life', id }) : process.exit(0))`

/** Starts a worker that runs a few lines of JavaScript, on a clock that the test moves. */
function startWorker(source: string) {
  const file = join(temporaryDirectory(), 'worker.mjs')
  writeFileSync(file, source)
  const clock = createFakeClock()
  const lines: string[] = []
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
  let deaths = 0
  const start = createWorkers({
    file,
    clock,
    logger,
    drainDeadlineMs: 1_000,
    onExit: () => {},
    onDeath: () => deaths++,
  })
  const worker = start(process.env)
  onTestFinished(async () => {
    worker.process.kill()
    worker.actor.send({ type: 'worker.stop' })
    await worker.whenEnded
  })
  return { worker, clock, lines, deaths: () => deaths }
}

const reach = (worker: Worker, state: string) => until(() => worker.actor.matches(state))

test('a worker that dies again and again is started after 100 ms, 200 ms and so on, up to 30 s', async () => {
  const { worker, clock, deaths } = startWorker(`${LISTEN}; ${STAY}; setTimeout(() => process.exit(1), 10)`)
  expect(await worker.whenListening).toBe(1234)
  for (const wait of [100, 200, 400]) {
    await reach(worker, 'waiting')
    clock.advance(wait - 1)
    expect(worker.actor.value()).toBe('waiting')
    clock.advance(1)
    expect(worker.actor.value()).toBe('restarting')
  }
  for (let death = 4; death < 10; death++) {
    await reach(worker, 'waiting')
    clock.advance(30_000)
  }
  await reach(worker, 'waiting')
  clock.advance(29_999)
  expect(worker.actor.value()).toBe('waiting')
  clock.advance(1)
  expect(worker.actor.value()).toBe('restarting')
  expect(deaths()).toBe(10)
})

test('after half a minute of good life its next death is the first again', async () => {
  const { worker, clock } = startWorker(`${LISTEN}; ${ANSWER}`)
  await worker.whenListening
  for (const lives of [1, 2]) {
    worker.process.kill()
    await reach(worker, 'waiting')
    clock.advance(100 * lives)
    await reach(worker, 'listening')
  }
  for (let second = 0; second < 30; second++) {
    clock.advance(1_000)
    await reach(worker, 'listening.heartbeat.well')
  }
  worker.process.kill()
  await reach(worker, 'waiting')
  clock.advance(100)
  expect(worker.actor.value()).toBe('restarting')
})

test('a worker that never answers is asked twice, and then killed', async () => {
  const { worker, clock, lines } = startWorker(`${LISTEN}; ${STAY}`)
  await worker.whenListening
  const { pid = 0 } = worker.process
  clock.advance(1_000)
  expect(worker.actor.matches('listening.heartbeat.asked')).toBe(true)
  clock.advance(2_000)
  expect(worker.actor.matches('listening.heartbeat.askedAgain')).toBe(true)
  clock.advance(2_000)
  expect(worker.actor.value()).toBe('frozen')
  await reach(worker, 'waiting')
  expect(isAlive(pid)).toBe(false)
  expect(lines).toContain('a worker takes too long to start, to answer or to drain, and is killed')
})

test('one that cannot start says why, and is not started again', async () => {
  const { worker, deaths } = startWorker(`process.send({ type: 'failed', message: 'no room' }, () => process.exit(1))`)
  await expect(worker.whenListening).rejects.toThrow(/^no room$/)
  await worker.whenEnded
  expect(deaths()).toBe(0)
})

test('one that ends at its start without a word, and one that does not come up in a minute, are given up', async () => {
  const silent = startWorker('process.exit(3)')
  await expect(silent.worker.whenListening).rejects.toThrow('a worker ended before it listened (exit code 3)')
  const slow = startWorker(STAY)
  slow.clock.advance(60_000)
  await expect(slow.worker.whenListening).rejects.toThrow('a worker ended before it listened (SIGKILL)')
})

test('one that does not drain in time is killed', async () => {
  const { worker, clock } = startWorker(`${LISTEN}; ${STAY}`)
  await worker.whenListening
  worker.actor.send({ type: 'worker.stop' })
  clock.advance(999)
  expect(worker.actor.matches('draining.finishing')).toBe(true)
  clock.advance(1)
  await worker.whenEnded
})

test('what a worker of another version says is told, and ends nothing', async () => {
  const { worker, lines } = startWorker(`process.send({ type: 'news' }); ${LISTEN}; ${STAY}`)
  await worker.whenListening
  expect(lines).toContain('a worker is of a version that this supervisor does not know: restart the whole server')
})
