import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp, open as openFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ChannelLog } from '../../src/log/channel-log.ts'
import { openSqliteLog } from '../../src/log/sqlite-log.ts'

const PROGRAM = new URL('./append-forever.ts', import.meta.url).pathname
const ALL = { records: 1_000_000, bytes: 1e9 }

let dataDir: string
let children: Child[] = []

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'statewire-durable-'))
})
afterEach(async () => {
  await Promise.all(children.map((child) => child.kill()))
  children = []
  await rm(dataDir, { recursive: true, force: true })
})

test('C14 kill -9 amid appends: every acknowledged entry is there, and nothing was shown that is not', async () => {
  for (let round = 1; round <= 3; round += 1) {
    const child = run(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM, join(dataDir, `${round}`)])
    await child.line((line) => line.startsWith('acknowledged') && child.count('acknowledged') >= 300 * round)
    await child.kill()
    const log = await openSqliteLog({ dataDir: join(dataDir, `${round}`) })
    await expectToHold(log, child.lines)
    await log.close()
  }
})

test('a damaged file with unwritten pages in its -wal, as a kill leaves it, is refused, and both stay as they are', async () => {
  const earlier = await openSqliteLog({ dataDir })
  for (let sequence = 1; sequence <= 50; sequence += 1) {
    const entry = { type: 'message', content: 'x'.repeat(3000), client_id: 'c' } as const
    await earlier.append('room/earlier', entry, { producer: 'p', sequence, seenHead: 0, epoch: 'e1' })
  }
  await earlier.close()
  const child = run(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM, dataDir])
  await child.line((line) => line.startsWith('acknowledged') && child.count('acknowledged') >= 300)
  await child.kill()
  const files = ['statewire.db', 'statewire.db-wal'].map((name) => join(dataDir, name))
  const [database = ''] = files
  const whole = readFileSync(database)
  const page = 30 * 4096
  writeFileSync(database, Buffer.concat([whole.subarray(0, page), Buffer.alloc(64, 0xa5), whole.subarray(page + 64)]))
  const before = files.map((file) => readFileSync(file))
  expect(before.map((bytes) => bytes.length > 0)).toEqual([true, true])
  await expect(openSqliteLog({ dataDir })).rejects.toThrow(`${database} is damaged`)
  expect(files.map((file) => readFileSync(file))).toEqual(before)
  writeFileSync(database, whole)
  const log = await openSqliteLog({ dataDir })
  await expectToHold(log, child.lines)
  await log.close()
})

test('a second server on the same directory is refused in one sentence, and the first goes on', async () => {
  const child = run(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM, dataDir])
  await child.line((line) => line.startsWith('acknowledged'))
  await expect(openSqliteLog({ dataDir })).rejects.toMatchObject({
    name: 'LogError',
    code: 'failed',
    message: `another server uses ${dataDir}: stop it, or choose another DATA_DIR`,
  })
  const before = child.count('acknowledged')
  await child.line(() => child.count('acknowledged') > before + 100)
  expect(child.count('refused')).toBe(0)
  await child.kill()
  await (await openSqliteLog({ dataDir })).close()
})

test('a second log in the same process is refused, and does not break the lock of the first', async () => {
  const first = await openSqliteLog({ dataDir })
  await expect(openSqliteLog({ dataDir })).rejects.toThrow(`another server uses ${dataDir}`)
  const child = run(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM, dataDir])
  await child.ended
  expect(child.errors()).toContain(`another server uses ${dataDir}`)
  await first.check()
  await first.close()
})

// A limit on the size of files stands for a full disk wherever the tests may not mount one.
test('files that may not grow: what fails is not shown; all goes on when they may', async () => {
  const kilobytes = 400
  const shell = `trap '' XFSZ; ulimit -S -f ${kilobytes * 2}; exec "$0" "$@"`
  const node = ['--disable-warning=ExperimentalWarning', PROGRAM, dataDir]
  const child = run('/bin/sh', ['-c', shell, process.execPath, ...node])
  await child.line(() => child.count('refused') >= 9)
  await child.line((line) => line.startsWith('refused'))
  execFileSync('prlimit', ['--pid', `${child.pid}`, '--fsize=unlimited'])
  const before = child.count('acknowledged')
  await child.line(() => child.count('acknowledged') > before + 300)
  await child.kill()
  const log = await openSqliteLog({ dataDir })
  await expectToHold(log, child.lines)
  await expectToLack(log, child.lines)
  await log.close()
})

test.runIf(mayMount())(
  'a full disk: what fails is not shown, reads go on, and so does all when there is room',
  async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', dataDir])
    try {
      const log = await openSqliteLog({ dataDir })
      const shown: number[] = []
      log.follow('room/a', { record: ({ offset }) => shown.push(offset), reset: () => shown.push(-1) })
      const say = (sequence: number) => {
        const entry = { type: 'message', content: 'x'.repeat(5000), client_id: 'c' } as const
        return log.append('room/a', entry, { producer: 'p', sequence, seenHead: 0, epoch: 'e1' })
      }
      await say(1)
      await fill(join(dataDir, 'filler'))
      const failed = await Promise.allSettled([2, 3, 4, 5, 6, 7, 8, 9].map(say))
      expect(failed.map(({ status }) => status)).toEqual(failed.map(() => 'rejected'))
      await expect(say(10)).rejects.toMatchObject({ code: 'failed', message: expect.stringContaining(dataDir) })
      await expect(log.check()).rejects.toMatchObject({ code: 'failed' })
      expect(shown).toEqual([1])
      expect(await log.read('room/a', { epoch: 'e1', offset: 0 }, ALL)).toMatchObject({ head: { offset: 1 } })
      rmSync(join(dataDir, 'filler'))
      await log.check()
      expect(await say(11)).toEqual({ epoch: 'e1', offset: 2, repeated: false })
      expect(shown).toEqual([1, 2])
      await log.close()
      const again = await openSqliteLog({ dataDir })
      expect(await again.head('room/a')).toEqual({ epoch: 'e1', offset: 2 })
      await again.close()
    } finally {
      execFileSync('umount', [dataDir])
    }
  },
)

/** Every entry that was acknowledged or shown is in the log, as it was. */
async function expectToHold(log: ChannelLog, lines: readonly string[]): Promise<void> {
  const acknowledged = wordsOf(lines, 'acknowledged')
  expect(acknowledged.length).toBeGreaterThan(0)
  for (const key of ['room/a', 'room/b', 'chat/c']) {
    const result = await log.read(key, { epoch: 'e1', offset: 0 }, ALL)
    const there = new Map(result.honoured ? result.records.map(({ offset, entry }) => [offset, entry]) : [])
    for (const [, of, offset, sequence] of acknowledged) {
      if (of === key)
        expect(there.get(Number(offset))).toMatchObject({ content: expect.stringMatching(`^${sequence} x`) })
    }
    for (const [, of, offset] of wordsOf(lines, 'shown')) if (of === key) expect(there.has(Number(offset))).toBe(true)
  }
}

/** Nothing that was refused is in the log. */
async function expectToLack(log: ChannelLog, lines: readonly string[]): Promise<void> {
  const refused = wordsOf(lines, 'refused')
  expect(refused.length).toBeGreaterThan(0)
  for (const [, key = '', sequence] of refused) {
    expect(await log.find(key, 'turn:t', Number(sequence))).toBeUndefined()
  }
}

function wordsOf(lines: readonly string[], first: string): string[][] {
  return lines.filter((line) => line.startsWith(`${first} `)).map((line) => line.split(' '))
}

interface Child {
  readonly pid: number | undefined
  readonly lines: readonly string[]
  readonly ended: Promise<unknown>
  errors(): string
  count(word: string): number
  /** Resolves at the next line for which this holds; rejects when the child ends before. */
  line(is: (line: string) => boolean): Promise<void>
  kill(): Promise<unknown>
}

function run(command: string, args: readonly string[]): Child {
  const child: ChildProcess = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const lines: string[] = []
  const counts = new Map<string, number>()
  let errors = ''
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) throw new Error('the child has no pipes')
  const reader = createInterface({ input: stdout })
  reader.on('line', (line) => {
    lines.push(line)
    const word = line.slice(0, line.indexOf(' '))
    counts.set(word, (counts.get(word) ?? 0) + 1)
  })
  stderr.on('data', (data: Buffer) => {
    errors += data.toString()
  })
  const ended = Promise.all([once(child, 'exit'), once(reader, 'close')])
  const running: Child = {
    pid: child.pid,
    lines,
    ended,
    errors: () => errors,
    count: (word) => counts.get(word) ?? 0,
    line(is) {
      return new Promise((resolve, reject) => {
        reader.on('line', function look(line: string) {
          if (!is(line)) return
          reader.off('line', look)
          resolve()
        })
        void ended.then(() => reject(new Error(`the child ended: ${errors}`)))
      })
    },
    kill() {
      child.kill('SIGKILL')
      return ended
    },
  }
  children.push(running)
  return running
}

/** Writes until there is no room left. */
async function fill(file: string): Promise<void> {
  const handle = await openFile(file, 'w')
  try {
    for (;;) await handle.write(Buffer.alloc(4096))
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
  } finally {
    await handle.close()
  }
}

/** Whether these tests may mount a small disk: root may, in most places. */
function mayMount(): boolean {
  const directory = join(tmpdir(), `statewire-mount-${process.pid}`)
  mkdirSync(directory)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory], { stdio: 'ignore' })
    execFileSync('umount', [directory])
    return true
  } catch {
    console.warn('no disk can be mounted here: a full disk is tested by a limit on the size of files alone')
    return false
  } finally {
    rmSync(directory, { recursive: true })
  }
}
