import { expect, test } from 'vitest'
import { spawnServer, temporaryDirectory } from '../support/server.ts'
import { runPrinted } from './printed-client.ts'

test('C2 the Python test client (tutorial 8.1) prints the thinking, the answer and its end', async () => {
  const server = await spawnServer({ DATA_DIR: temporaryDirectory() })
  const output = await runPrinted('python', 'test_chat.py', server.url)
  expect(output).toBe('(AI 正在思考...)\n你说的是: 你好,请介绍一下你自己。让我想想... \n--- 回复完成 ---\n')
})

test('C2 the Python test client runs again on its old session, whose history it passes over', async () => {
  const server = await spawnServer({ DATA_DIR: temporaryDirectory() })
  const first = await runPrinted('python', 'test_chat.py', server.url)
  expect(await runPrinted('python', 'test_chat.py', server.url)).toBe(first)
})

test('C2 the stress test (tutorial 8.2) completes its ten clients at once, at the pace of the tutorial', async () => {
  // Without a delay of ours: the simulated model thinks and pauses as the tutorial's.
  const server = await spawnServer({ DATA_DIR: temporaryDirectory(), SIMULATED_DELAY_MS: '', RATE_LIMIT: '' })
  const output = await runPrinted('sh', 'stress_test.sh', server.url)
  const expected = Array.from({ length: 10 }, (_, client) => `客户端 ${client} 完成`)
  expect(output.trim().split('\n').sort()).toEqual(expected)
})
