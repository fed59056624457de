import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openSqliteLog } from '../../src/log/sqlite-log.ts'

let dataDir: string
let file: string

beforeEach(() => {
  dataDir = join(mkdtempSync(join(tmpdir(), 'statewire-open-')), 'data')
  file = join(dataDir, 'statewire.db')
})
afterEach(() => rmSync(join(dataDir, '..'), { recursive: true }))

/** A file of ours with a few pages of entries, closed. */
async function makeLog(): Promise<void> {
  const log = await openSqliteLog({ dataDir })
  for (let n = 0; n < 50; n += 1) {
    const entry = { type: 'message', content: `secret ${'x'.repeat(500)}`, client_id: 'c' } as const
    await log.append(`room/${n % 5}`, entry, { producer: 'p', sequence: n, seenHead: 0, epoch: 'e1' })
  }
  await log.close()
}

async function expectRefused(message: RegExp): Promise<void> {
  const bytes = () => readdirSync(dataDir).map((name) => [name, readFileSync(join(dataDir, name))])
  const before = bytes()
  const refusal = await openSqliteLog({ dataDir }).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(refusal).toMatchObject({ name: 'LogError', code: 'failed', message: expect.stringMatching(message) })
  expect(refusal).toMatchObject({ message: expect.stringContaining(file) })
  expect(refusal).toMatchObject({ message: expect.not.stringMatching(/secret|\n/) })
  expect(bytes()).toEqual(before)
}

test('a directory that is missing is made, for its owner alone', async () => {
  await (await openSqliteLog({ dataDir })).close()
  expect(statSync(dataDir).mode & 0o777).toBe(0o700)
})

test('an empty file, as a full disk or a kill in the first moment leaves it, is begun afresh', async () => {
  mkdirSync(dataDir)
  writeFileSync(file, '')
  const log = await openSqliteLog({ dataDir })
  await log.check()
  await log.close()
})

test('a file that is no database is refused and stays as it is', async () => {
  mkdirSync(dataDir)
  writeFileSync(file, 'notes of somebody, long enough to be more than a header of a database\n'.repeat(100))
  await expectRefused(/is not a SQLite database: choose another DATA_DIR, or move it away$/)
  writeFileSync(file, 'short')
  await expectRefused(/is not a SQLite database/)
})

test("another application's database is refused and stays as it is, whatever its journal", async () => {
  for (const [index, pragma] of ['application_id = 7', 'journal_mode = WAL', 'user_version = 3'].entries()) {
    rmSync(dataDir, { recursive: true, force: true })
    mkdirSync(dataDir)
    const other = new DatabaseSync(file)
    other.exec(`PRAGMA ${pragma}; CREATE TABLE notes (text); INSERT INTO notes VALUES ('n${index}')`)
    other.close()
    await expectRefused(/belongs to another application/)
  }
})

test('a file of a newer version is refused and stays as it is', async () => {
  await makeLog()
  const newer = new DatabaseSync(file)
  newer.exec('PRAGMA user_version = 99')
  newer.close()
  await expectRefused(/was written by a newer Statewire \(it has version 99, this server knows 1\)/)
})

test('a damaged file is refused and stays as it is, wherever the damage is', async () => {
  await makeLog()
  const whole = readFileSync(file)
  const cut = whole.subarray(0, whole.length - 4096 * 3)
  for (const damaged of [
    cut,
    ...[20, 100, 4096 * 2, 4096 * 4, whole.length - 4096].map((at) => overwrite(whole, at)),
  ]) {
    writeFileSync(file, damaged)
    await expectRefused(
      /is damaged: restore it from a backup, or move it away to start afresh$|is not a SQLite database/,
    )
  }
  writeFileSync(file, whole)
  await (await openSqliteLog({ dataDir })).close()
})

test('a directory that cannot be made is told by its path', async () => {
  writeFileSync(dataDir, 'a file, where the directory should be')
  await expect(openSqliteLog({ dataDir })).rejects.toMatchObject({
    name: 'LogError',
    code: 'failed',
    message: expect.stringContaining(dataDir),
  })
})

test('one damaged record fails its own reads, naming the place and not the text; the others stay whole', async () => {
  await makeLog()
  const inside = new DatabaseSync(file)
  inside.exec(`UPDATE entries SET text = '{"type":"message","content":"secret' WHERE offset = 3 AND channel = 2`)
  inside.close()
  const log = await openSqliteLog({ dataDir })
  const all = { records: 100, bytes: 1e9 }
  const reading = [0, 1, 2].map((n) => log.read(`room/${n}`, { epoch: 'e1', offset: 0 }, all))
  const [first, damaged, third] = await Promise.allSettled(reading)
  expect([first?.status, third?.status]).toEqual(['fulfilled', 'fulfilled'])
  expect(damaged).toMatchObject({
    status: 'rejected',
    reason: { name: 'LogError', code: 'failed', message: 'the record of room/1 at offset 3 is damaged' },
  })
  expect(await log.read('room/1', { epoch: 'e1', offset: 3 }, all)).toMatchObject({ honoured: true })
  await log.close()
})

test('G8 a file restored from a backup: the next append of a writer that has seen more begins a new epoch', async () => {
  const entry = { type: 'message', content: 'hello', client_id: 'c' } as const
  await makeLog()
  const backup = readFileSync(file)
  await makeMore(2)
  writeFileSync(file, backup)
  const log = await openSqliteLog({ dataDir })
  const writer = { producer: 'q', sequence: 'new', seenHead: 12, epoch: 'e1' }
  expect(await log.head('room/0')).toEqual({ epoch: 'e1', offset: 10 })
  const { epoch, offset } = await log.append('room/0', entry, writer)
  expect(offset).toBe(11)
  expect(epoch).not.toBe('e1')
  await log.close()

  async function makeMore(entries: number): Promise<void> {
    const before = await openSqliteLog({ dataDir })
    for (let n = 0; n < entries; n += 1) {
      await before.append('room/0', entry, { producer: 'q', sequence: `${n}`, seenHead: 10, epoch: 'e1' })
    }
    expect((await before.head('room/0')).offset).toBe(10 + entries)
    await before.close()
  }
})

function overwrite(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes)
  changed.fill(0xa5, at, at + 64)
  return changed
}
