import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { AppendOptions } from '../../src/log/channel-log.ts'
import type { StoreRequest } from '../../src/log/sqlite-requests.ts'
import { openStore, type SqliteStore } from '../../src/log/sqlite-store.ts'

let dataDir: string
let store: SqliteStore

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'statewire-store-'))
  store = openStore(dataDir)
})
afterEach(() => {
  store.close()
  rmSync(dataDir, { recursive: true })
})

const append = (key: string, sequence: AppendOptions['sequence'], time = 1, fence?: number): StoreRequest => {
  const writer = { producer: 'p', sequence, seenHead: 0, epoch: 'e1', ...(fence === undefined ? {} : { fence }) }
  return { op: 'append', key, text: '{}', time, opens: 0, ends: false, writer }
}
/** Its fence does not fit its column: the statement fails, as it would on a damaged page. */
const broken = (key: string) => append(key, 'broken', 1, 1.5)
const written = (offset: number) => ({ ok: true, value: { epoch: 'e1', offset, repeated: false, reset: undefined } })
const failed = { ok: false, code: 'failed', message: expect.stringContaining('statewire-store-') }

test('a write that fails by itself is left out; the rest of its batch is written once', () => {
  const reply = store.run([append('room/a', 1), broken('room/b'), append('room/a', 2), { op: 'head', key: 'room/b' }])
  const head = { ok: true, value: { epoch: undefined, offset: 0 } }
  expect(reply).toEqual({ ok: true, answers: [written(1), failed, written(2), head] })
  expect(store.run([append('room/a', 3), append('room/b', 1)])).toEqual({ ok: true, answers: [written(3), written(1)] })
})

test('where many fail, nothing of the batch is written', () => {
  const reply = store.run([append('room/a', 1), ...['b', 'c', 'd', 'e'].map((name) => broken(`room/${name}`))])
  expect(reply).toEqual({ ok: false, message: expect.stringContaining('statewire-store-') })
  expect(store.run([append('room/a', 1)])).toEqual({ ok: true, answers: [written(1)] })
})

test('G15 a channel that is written to between its finding and its forgetting stays', () => {
  store.run([append('room/a', 1), append('room/b', 1)])
  expect(store.run([{ op: 'expirable', appendedBefore: 5, afterId: 0 }])).toEqual({
    ok: true,
    answers: [{ ok: true, value: { keys: ['room/a', 'room/b'], next: undefined, failed: [] } }],
  })
  store.run([append('room/a', 2, 7)])
  expect(store.run([{ op: 'forget', keys: ['room/a', 'room/b'], appendedBefore: 5 }])).toEqual({
    ok: true,
    answers: [{ ok: true, value: ['room/b'] }],
  })
  expect(store.run([append('room/a', 3), append('room/b', 1)])).toEqual({ ok: true, answers: [written(3), written(1)] })
})

test('G15 more channels than one slice looks through expire one after the other, and leave no rows', () => {
  const keys = Array.from({ length: 2500 }, (_, n) => `room/${n}`)
  store.run(keys.map((key) => append(key, 'id')))
  const [first] = answersOf({ op: 'expirable', appendedBefore: 5, afterId: 0 })
  expect(first).toMatchObject({ value: { keys: keys.slice(0, 2000), next: 2000 } })
  const [second] = answersOf({ op: 'expirable', appendedBefore: 5, afterId: 2000 })
  expect(second).toMatchObject({ value: { keys: keys.slice(2000), next: undefined } })
  answersOf({ op: 'forget', keys, appendedBefore: 5 })
  let slices = 0
  while (sweep()) slices += 1
  expect(slices).toBeGreaterThan(1)
  store.close()
  expect(rowsLeft()).toBe(0)
  store = openStore(dataDir)
})

test('channels and producers that are no longer in memory are found again', () => {
  store.run([append('room/a', 1), append('room/a', 2), append('room/a', 'id')])
  for (let n = 0; n < 6; n += 1) store.run(Array.from({ length: 2000 }, (_, m) => append(`room/${n}-${m}`, 1)))
  const reply = store.run([append('room/a', 2), append('room/a', 'id'), append('room/a', 3)])
  const repeat = (offset: number) => ({ ...written(offset), value: { ...written(offset).value, repeated: true } })
  expect(reply).toEqual({ ok: true, answers: [repeat(2), repeat(3), written(4)] })
})

function answersOf(request: StoreRequest) {
  const reply = store.run([request])
  if (!reply.ok) throw new Error(reply.message)
  return reply.answers
}

function sweep(): boolean {
  const [answer] = answersOf({ op: 'sweep', afterId: 0 })
  if (answer?.ok !== true || typeof answer.value !== 'object' || !('next' in answer.value)) throw new Error('no answer')
  return answer.value.next !== undefined
}

function rowsLeft(): unknown {
  const database = new DatabaseSync(join(dataDir, 'statewire.db'))
  const tables = ['channels', 'entries', 'written', 'forgotten']
  const counts = tables.map((table) => `(SELECT count(*) FROM ${table})`)
  const row = database.prepare(`SELECT ${counts.join(' + ')} AS n`).get()
  database.close()
  return row?.n
}
