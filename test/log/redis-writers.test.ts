import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { openRedisLog } from '../../src/log/redis-log.ts'
import { startRedis } from '../support/redis.ts'
import { contentsOf, listen } from '../support/redis-heard.ts'

const WRITER = fileURLToPath(new URL('redis-writer.ts', import.meta.url))
const KEY = 'chat/a'
const WRITERS = 4
const ENTRIES = 60

/** Runs one to its end; answers what it told. */
async function runWriter(url: string, name: string): Promise<[fence: number, offset: number, content: string][]> {
  const args = ['--disable-warning=ExperimentalWarning', WRITER, url, KEY, name, `${ENTRIES}`]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`the writer ${name} has failed`)
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

test('writers in many processes that race for the lease: no fence after a higher one, nothing lost, nothing twice', async () => {
  const redis = await startRedis()
  const log = await openRedisLog({ url: redis.url, ttlMs: 3_600_000, waitReplicas: 0 })
  try {
    const heard = await listen(log, KEY)
    const all = await Promise.all(Array.from({ length: WRITERS }, (_, n) => runWriter(redis.url, `w${n}`)))
    const acknowledged = all.flat()
    const contents = await contentsOf(log, KEY)

    expect(contents).toHaveLength(WRITERS * ENTRIES)
    expect(new Set(contents).size).toBe(contents.length)
    for (const [, offset, content] of acknowledged) expect(contents[offset - 1]).toBe(content)
    const fences = contents.map((content) => Number.parseInt(content, 10))
    expect(fences).toEqual([...fences].sort((a, b) => a - b))
    // Every writer was fenced off at some time, or this would have tested nothing.
    expect(new Set(fences).size).toBeGreaterThan(WRITERS)

    await heard.said(contents.at(-1) ?? '')
    expect(heard.records.map(({ offset }) => offset)).toEqual(contents.map((_, at) => at + 1))
    expect(heard.faults).toEqual([])
  } finally {
    await log.close()
    await redis.close()
  }
})
