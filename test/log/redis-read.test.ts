import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ReadLimit } from '../../src/log/channel-log.ts'
import { openRedisLog, type RedisLog } from '../../src/log/redis-log.ts'
import type { Entry } from '../../src/protocol/entry.ts'
import { type RedisProcess, startRedis } from '../support/redis.ts'
import { say } from '../support/redis-heard.ts'

const KILO = 1_024
const LIMIT: ReadLimit = { records: 512, bytes: 32 * KILO }
/** The greatest MAX_MESSAGE_BYTES. */
const GREATEST = 16_777_216
const END_OF_READ = 'end of read'

let redis: RedisProcess
let log: RedisLog

beforeAll(async () => {
  redis = await startRedis()
  log = await openRedisLog({ url: redis.url, ttlMs: 3_600_000, waitReplicas: 0, timeoutMs: 5_000 })
})
afterAll(async () => {
  await log.close()
  await redis.close()
})

/** Reads to the head; answers the lengths of the pages' records, and how many records each page's script fetched. */
async function readAll(key: string) {
  const monitor = connect(redis.port, '127.0.0.1')
  monitor.write('MONITOR\r\n')
  const lines = createInterface(monitor)[Symbol.asyncIterator]()
  await lines.next()
  const pages: number[][] = []
  const fetched: number[] = []
  for (let offset = 0; ; ) {
    const page = await log.read(key, { epoch: 'e1', offset }, LIMIT)
    if (!page.honoured) throw new Error(`not honoured at ${offset}`)
    await redis.call('echo', END_OF_READ)
    let count = 0
    for (let line = ''; !line.includes(END_OF_READ); line = (await lines.next()).value) count += fetchedBy(line)
    const last = page.records.at(-1)
    if (last === undefined) break
    offset = last.offset
    pages.push(page.records.map(({ text }) => text.length))
    fetched.push(count)
  }
  monitor.destroy()
  return { pages, fetched }
}

/** How many records a command of a script asks for, by the line that Redis's monitor shows of it. */
function fetchedBy(line: string): number {
  return Number(/ lua\] "(?:XRANGE|ZRANGE)" .*"(\d+)"/.exec(line.replace(' "WITHSCORES"', ''))?.[1] ?? 0)
}

/** How many of a key's records a page returned, for each page. */
const returned = (pages: number[][]) => pages.map((page) => page.length)

test('of records that fill a page by themselves, no more are fetched than returned', async () => {
  for (let n = 0; n < 5; n++) await say(log, 'room/large', `${n}`.padEnd(60 * KILO, 'x'))
  const { pages, fetched } = await readAll('room/large')
  expect(returned(pages)).toEqual([1, 1, 1, 1, 1])
  expect(fetched).toEqual([1, 1, 1, 1, 1])
})

test('of small records little more is fetched than returned', async () => {
  for (let n = 0; n < 600; n++) await say(log, 'room/small', `${n}`.padEnd(100, 'x'))
  const { pages, fetched } = await readAll('room/small')
  expect(returned(pages).reduce((sum, count) => sum + count)).toBe(600)
  for (const [n, count] of returned(pages).entries()) expect(fetched[n]).toBeLessThanOrEqual(count + 16)
})

test('of large answers that were folded, no more are fetched than returned', async () => {
  const key = 'chat/folded'
  let seenHead = 0
  const tell = async (entry: Entry) => {
    const by = { producer: 'p', sequence: seenHead + 1, seenHead, epoch: 'e1' }
    seenHead = (await log.append(key, entry, by)).offset
  }
  for (let n = 0; n < 4; n++) {
    const turn_id = `t${n}`
    await tell({ type: 'user_message', content: 'hi', turn_id, client_id: 'c', conversation_id: 'v' })
    for (const index of [1, 2])
      await tell({ type: 'ai_stream_chunk', turn_id, content: 'x'.repeat(50 * KILO), metadata: { index } })
    const nothing = { finish_reason: 'stop', usage: null, content: '', metadata: { total_words: 1 } } as const
    await tell({ type: 'ai_stream_end', turn_id, outcome: 'completed', ...nothing })
  }
  expect(await log.fold(Date.now() + 1_000)).toBe(4)
  const { pages, fetched } = await readAll(key)
  expect(returned(pages)).toEqual([1, 1, 2, 1, 2, 1, 2, 1, 1])
  // What ends a page before its limit was looked at: the answer, and rows of the batch.
  for (const [n, count] of returned(pages).entries()) expect(fetched[n]).toBeLessThanOrEqual(count + 4)
  expect(Math.max(...pages.flat())).toBeGreaterThan(100 * KILO)
})

test('G2 a record of the greatest legal size is a page by itself, and those around it are read', async () => {
  await say(log, 'room/huge', 'before')
  await say(log, 'room/huge', 'x'.repeat(GREATEST))
  await say(log, 'room/huge', 'after')
  const { pages } = await readAll('room/huge')
  expect(returned(pages)).toEqual([1, 1, 1])
  expect(pages[1]?.[0]).toBeGreaterThan(GREATEST)
})
