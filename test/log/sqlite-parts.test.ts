import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ChannelLog, LogError } from '../../src/log/channel-log.ts'
import { openSqliteLog, type SqliteLog } from '../../src/log/sqlite-log.ts'
import type { Entry } from '../../src/protocol/entry.ts'

const KEYS = ['chat/damaged', 'chat/a', 'chat/b']
const [DAMAGED = ''] = KEYS

let dataDir: string
let log: SqliteLog
let time: number
let told: [string, string][]

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'statewire-parts-'))
  time = 1_000
  told = []
  log = await openSqliteLog({ dataDir, now: () => time })
})
afterEach(async () => {
  await log.close()
  rmSync(dataDir, { recursive: true })
})

const onFailed = (part: string, { message }: LogError) => void told.push([part, message])

/** Does something to the file while it is closed. */
async function change(sql: string): Promise<void> {
  await log.close()
  const database = new DatabaseSync(join(dataDir, 'statewire.db'))
  database.exec(sql)
  database.close()
  log = await openSqliteLog({ dataDir, now: () => time })
}

/** Statements of this kind fail for the first channel's rows, as they would on a damaged page. */
const damage = (what: string) =>
  change(`CREATE TRIGGER damage BEFORE ${what} BEGIN SELECT RAISE(ABORT, 'the page is damaged'); END`)
const repair = () => change('DROP TRIGGER damage')

async function tellTurn(to: ChannelLog, key: string): Promise<void> {
  const chunk = (content: string): Entry => ({
    ...{ type: 'ai_stream_chunk', turn_id: 't1', content, metadata: { index: 0 } },
  })
  const entries: Entry[] = [
    { type: 'typing', turn_id: 't1' },
    ...['a', 'b', 'c'].map(chunk),
    {
      ...{ type: 'ai_stream_end', turn_id: 't1', outcome: 'completed', finish_reason: 'stop', usage: null },
      ...{ content: '', metadata: { total_words: 1 } },
    },
  ]
  for (const [at, entry] of entries.entries())
    await to.append(key, entry, { producer: 'p', sequence: at + 1, seenHead: at, epoch: 'e1' })
}

async function offsets(key: string): Promise<readonly number[]> {
  const page = await log.read(key, { epoch: 'e1', offset: 0 }, { records: 100, bytes: 1e9 })
  return page.honoured ? page.records.map(({ offset }) => offset) : []
}

test('G7 a turn that cannot be folded stays whole, is told each time, and keeps no other from being folded', async () => {
  for (const key of KEYS) await tellTurn(log, key)
  // By then, chunks before it are deleted.
  await damage('UPDATE OF text ON entries WHEN OLD.channel = 1')
  for (const folded of [2, 0]) {
    told = []
    expect(await log.fold(time + 1, onFailed)).toBe(folded)
    expect(told).toEqual([[DAMAGED, `the log in ${dataDir}: the page is damaged`]])
  }
  await expect(log.fold(time + 1)).rejects.toMatchObject({ name: 'LogError', code: 'failed' })
  expect(await offsets(DAMAGED)).toEqual([1, 2, 3, 4, 5])
  expect(await offsets('chat/a')).toEqual([1, 4, 5])
  await repair()
  expect(await log.fold(time + 1)).toBe(1)
  expect(await offsets(DAMAGED)).toEqual([1, 4, 5])
})

test('G15 a channel that cannot be looked at keeps no other from being forgotten', async () => {
  for (const key of KEYS) await tellTurn(log, key)
  time = 2_000
  await log.append(DAMAGED, { type: 'typing', turn_id: 't1' }, { producer: 'q', sequence: 1, seenHead: 5, epoch: 'e1' })
  await damage('UPDATE ON channels WHEN OLD.id = 1')
  expect(await log.expire(1_500, new Set(), onFailed)).toEqual(['chat/a', 'chat/b'])
  expect(told).toEqual([[DAMAGED, `the log in ${dataDir}: the page is damaged`]])
  expect(await log.head(DAMAGED)).toMatchObject({ offset: 6 })
})

test('G15 rows of a forgotten channel that cannot be deleted keep no others, and are deleted when they can', async () => {
  for (const key of KEYS) await tellTurn(log, key)
  await damage('DELETE ON entries WHEN OLD.channel = 1')
  expect(await log.expire(time + 1, new Set(), onFailed)).toEqual(KEYS)
  expect(told).toEqual([['forgotten channel 1', `the log in ${dataDir}: the page is damaged`]])
  const left = () => {
    const database = new DatabaseSync(join(dataDir, 'statewire.db'))
    const rows = database.prepare('SELECT channel, count(*) AS n FROM entries GROUP BY channel').all()
    database.close()
    return rows.map(({ channel, n }) => [channel, n])
  }
  await log.close()
  expect(left()).toEqual([[1, 5]])
  log = await openSqliteLog({ dataDir, now: () => time })
  await repair()
  expect(await log.expire(time + 1, new Set())).toEqual([])
  await log.close()
  expect(left()).toEqual([])
})
