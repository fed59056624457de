import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Head } from '../../src/log/channel-log.ts'
import { openSqliteLog, type SqliteLog } from '../../src/log/sqlite-log.ts'
import type { Entry } from '../../src/protocol/entry.ts'

let dataDir: string
let log: SqliteLog
let threads: Worker[]
const keepThread = (thread: Worker) => threads.push(thread)

beforeEach(async () => {
  threads = []
  process.on('worker', keepThread)
  dataDir = await mkdtemp(join(tmpdir(), 'statewire-queue-'))
  log = await openSqliteLog({ dataDir })
})
afterEach(async () => {
  process.off('worker', keepThread)
  await log.close()
  await rm(dataDir, { recursive: true })
})

const say = (key: string, sequence: string) => {
  const entry = { type: 'message', content: sequence, client_id: 'c' } as const
  return log.append(key, entry, { producer: 'p', sequence, seenHead: 0, epoch: 'e1' })
}

async function tellTurn(turn_id: string, chunks: number): Promise<void> {
  const metadata = { index: 0 }
  const nothing = { finish_reason: 'stop', usage: null, content: '', metadata: { total_words: 0 } } as const
  const entries: Entry[] = [
    { type: 'typing', turn_id },
    ...Array.from(
      { length: chunks },
      () => ({ type: 'ai_stream_chunk', turn_id, content: 'word ', metadata }) as const,
    ),
    { type: 'ai_stream_end', turn_id, outcome: 'completed', ...nothing },
  ]
  const writer = { producer: `turn:${turn_id}`, seenHead: 0, epoch: 'e1' }
  await Promise.all(entries.map((entry, sequence) => log.append(`chat/${turn_id}`, entry, { ...writer, sequence })))
}

test('all appends of one turn of the event loop are one commit, and so are all that come while it is under way', async () => {
  const before = log.statistics().commits
  const first = Array.from({ length: 500 }, (_, n) => say(`room/${n}`, 'one'))
  const during = new Promise<void>((resolve) => {
    // After the immediate that sends the first batch.
    setImmediate(() => {
      const second = Array.from({ length: 300 }, (_, n) => say(`room/${n}`, 'two'))
      void Promise.all(second).then(() => resolve())
    })
  })
  await Promise.all([...first, during])
  expect(log.statistics().commits).toBe(before + 2)
})

test('reads alone commit nothing', async () => {
  await say('room/a', 'one')
  const before = log.statistics().commits
  await Promise.all([log.head('room/a'), log.unfinished(), log.find('room/a', 'p', 'one')])
  expect(log.statistics().commits).toBe(before)
})

test('more reads at once than one batch takes are all answered', async () => {
  await say('room/a', 'one')
  const limit = { records: 10, bytes: 1000 }
  const reads = Array.from({ length: 1000 }, () => log.read('room/a', { epoch: 'e1', offset: 0 }, limit))
  expect(new Set((await Promise.all(reads)).map(({ honoured }) => honoured))).toEqual(new Set([true]))
})

test('close lets long work end, slice by slice, and refuses what comes meanwhile', async () => {
  const turns = Array.from({ length: 60 }, (_, t) => `t${t}`)
  await Promise.all(turns.map((turn_id) => tellTurn(turn_id, 300)))
  const before = log.statistics().commits
  const folded = log.fold(Date.now() + 1000)
  const closed = log.close()
  await expect(say('room/a', 'late')).rejects.toMatchObject({ code: 'closed' })
  expect(await folded).toBe(turns.length)
  await closed
  // Else this did not show what it is about.
  expect(log.statistics().commits).toBeGreaterThan(before + 1)
})

test('a thread that dies: what is in hand is rejected, followers hear what there is, and the log goes on', async () => {
  await say('room/a', 'one')
  const resets: Head[] = []
  const reset = new Promise<void>((resolve) => {
    log.follow('room/a', {
      record: () => {},
      reset: (head) => {
        resets.push(head)
        resolve()
      },
    })
  })
  const inHand = Promise.allSettled([say('room/a', 'two'), say('room/b', 'two')])
  setImmediate(() => void threads[0]?.terminate())
  const outcomes = await inHand
  for (const outcome of outcomes) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { name: 'LogError', code: 'failed' } })
  }
  await reset
  const { epoch, offset } = await log.head('room/a')
  expect(epoch).toBe('e1')
  expect(resets).toEqual([{ epoch, offset }])
  expect((await say('room/a', 'three')).offset).toBe(offset + 1)
  expect(log.statistics().threadsStarted).toBe(2)
})

test('a thread that dies with nothing in hand is replaced at once', async () => {
  const replaced = once(process, 'worker')
  await threads[0]?.terminate()
  await replaced
  expect((await say('room/a', 'one')).offset).toBe(1)
  expect(log.statistics().threadsStarted).toBe(2)
})

test('a thread that dies while the log closes does not keep it from closing', async () => {
  const asked = Promise.allSettled([say('room/a', 'one')])
  setImmediate(() => void threads[0]?.terminate())
  await log.close()
  await asked
  await expect(say('room/a', 'two')).rejects.toMatchObject({ code: 'closed' })
})
