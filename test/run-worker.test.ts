import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'

const WORKER = fileURLToPath(new URL('../src/run-worker.ts', import.meta.url))

test('what a supervisor of another version says is told without its content, and ends nothing', async () => {
  const worker = fork(WORKER, {
    env: { ...process.env, PORT: '0', STORE: 'memory', LOG_LEVEL: 'info' },
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const exited = once(worker, 'exit')
  onTestFinished(async () => {
    worker.kill('SIGKILL')
    await exited
  })
  const lines: string[] = []
  createInterface({ input: worker.stdout as NodeJS.ReadableStream }).on('line', (line) => lines.push(line))
  const heard = async () => (await once(worker, 'message'))[0]
  expect(await heard()).toMatchObject({ type: 'listening' })

  worker.send({ type: 'news', text: 'something new' })
  worker.send({ type: 'ask', id: 1, question: 'the weather' })
  worker.send({ type: 'ask', id: 2, question: 'life' })
  expect(await heard()).toEqual({ type: 'life', id: 2 })
  const isTold = (line: string) => line.includes('the supervisor is of a version that this worker does not know')
  await expect.poll(() => lines.filter(isTold)).toHaveLength(2)
  expect(lines.join('\n')).not.toMatch(/something new|weather/)

  worker.send({ type: 'drain' })
  expect(await heard()).toMatchObject({ type: 'farewell' })
  expect((await exited)[0]).toBe(0)
})
