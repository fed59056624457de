import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, type TestContext, test } from 'vitest'
import type { Lease } from '../../src/coordination/coordination.ts'
import { openRedisCoordination, type RedisCoordination } from '../../src/coordination/redis-coordination.ts'
import { openRedisLog } from '../../src/log/redis-log.ts'
import { startRedis, until } from '../support/redis.ts'

const ROOM = 'room/a'
const LEASE_MS = 1_500
const TIMEOUT_MS = 1_000
/** What something may take beyond its time on a busy machine. */
const SLACK_MS = 500
/** Most tests here wait for leases to end, and leave the processor idle: they wait together. */
const AT_ONCE = { concurrent: true }

/** Another process that holds a lease, a place and a room's member; `heard` is what it has printed. */
interface Other {
  readonly token: number
  heard(): readonly string[]
  /** Makes it append something. */
  tell(): void
  signal(name: NodeJS.Signals): void
}

/** A Redis of the test's own, and who uses it. Of tests that run at once, the context tells which one has finished. */
async function setStage({ onTestFinished }: TestContext) {
  const redis = await startRedis({ durable: true })
  const opened: RedisCoordination[] = []
  onTestFinished(async () => {
    await Promise.all(opened.map((one) => one.close()))
    await redis.close()
  })

  async function open(): Promise<RedisCoordination> {
    const one = await openRedisCoordination({ url: redis.url, leaseMs: LEASE_MS })
    opened.push(one)
    return one
  }

  async function startOther(): Promise<Other> {
    const file = fileURLToPath(new URL('redis-process.ts', import.meta.url))
    const args = [redis.url, ROOM, `${LEASE_MS}`]
    const other = spawn(process.execPath, [file, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    onTestFinished(() => void other.kill('SIGKILL'))
    let text = ''
    other.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    const heard = () => text.split('\n')
    await until(() => heard().some((line) => line.startsWith('token ')))
    const token = Number(text.split(' ')[1]?.split('\n')[0])
    return { heard, token, tell: () => other.stdin.write('go\n'), signal: (name) => other.kill(name) }
  }

  return { redis, open, startOther }
}

/** What a process is told of a room's members. */
function presenceOf(coordination: RedisCoordination): string[] {
  const told: string[] = []
  coordination.onPresence((_, member, change) => told.push(`${member} ${change}`))
  return told
}

test('C14 of 200 that race for a lease again and again, one holds it at a time, and tokens rise', async (context) => {
  const { open } = await setStage(context)
  const all: RedisCoordination[] = []
  // (Not all at once: a busy machine would not have made the connections in time.)
  while (all.length < 200) all.push(...(await Promise.all(Array.from({ length: 20 }, open))))
  let holders = 0
  const tokens: number[] = []
  async function race(coordination: RedisCoordination): Promise<void> {
    const lease = await coordination.lease('turn:chat/one', () => {})
    if (lease === undefined) return
    holders += 1
    expect(holders).toBe(1)
    tokens.push(lease.token)
    await new Promise((resolve) => setImmediate(resolve))
    holders -= 1
    lease.release()
  }
  for (let round = 0; round < 20; round++) await Promise.all(all.map(race))
  expect(tokens.length).toBeGreaterThanOrEqual(20)
  expect(tokens).toEqual([...new Set(tokens)].sort((x, y) => x - y))
})

describe('another process', AT_ONCE, () => {
  test('R3 killed: its members leave, told to one process, and its places return within its lease', async (context) => {
    const { open, startOther } = await setStage(context)
    const [a, b] = [await open(), await open()]
    const [toldToA, toldToB] = [presenceOf(a), presenceOf(b)]
    const other = await startOther()
    await a.enter(ROOM, 'a')
    expect(await b.enter(ROOM, 'b')).toEqual(['theirs', 'a', 'b'])
    expect(await a.take('connections:one', 2)).toBe(true)
    expect(await a.take('connections:one', 2)).toBe(false)
    const begin = performance.now()
    other.signal('SIGKILL')
    await until(() => toldToA.length + toldToB.length > 0)
    await until(() => a.take('connections:one', 2))
    await until(async () => (await a.lease(`turn:${ROOM}`, () => {})) !== undefined)
    expect(performance.now() - begin).toBeLessThan(LEASE_MS + SLACK_MS)
    expect(await b.members(ROOM)).toEqual(['a', 'b'])
    // Several renewals later, nobody has been told more.
    await new Promise((resolve) => setTimeout(resolve, LEASE_MS))
    expect([...toldToA, ...toldToB]).toEqual(['theirs left'])
  })

  test('frozen beyond its lease: a newer token is given, and on waking it hears so and can write no more', async (context) => {
    const { redis, open, startOther } = await setStage(context)
    const a = await open()
    const told = presenceOf(a)
    const other = await startOther()
    await a.enter(ROOM, 'a')
    const log = await openRedisLog({ url: redis.url, ttlMs: 3_600_000, waitReplicas: 0 })
    other.tell()
    await until(() => other.heard().includes('appended'))
    other.signal('SIGSTOP')
    let lease: Lease | undefined
    await until(async () => {
      lease = await a.lease(`turn:${ROOM}`, () => {})
      return lease !== undefined
    })
    expect(lease?.token).toBeGreaterThan(other.token)
    expect(lease?.mayBeBehind).toBe(true)
    await until(() => told.length > 0)
    // Woken with something to write: it does not know better, the log does.
    other.tell()
    other.signal('SIGCONT')
    await until(() => other.heard().includes('lost') && other.heard().includes('fenced'))
    const { offset } = await log.head(ROOM)
    expect(offset).toBe(1)
    expect(other.heard().filter((line) => line === 'lost')).toHaveLength(1)
    // It is alive, and so are its members.
    await until(() => other.heard().includes('told theirs joined'))
    expect(await a.members(ROOM)).toEqual(['a', 'theirs'])
    expect(told).toEqual(['theirs left'])
    await log.close()
  })
})

describe('the last holder', AT_ONCE, () => {
  test('is not behind; whoever else comes may be, and so is it after that', async (context) => {
    const { open } = await setStage(context)
    const [a, b] = [await open(), await open()]
    const take = async (one: RedisCoordination) => {
      const lease = await one.lease('turn:chat/one', () => {})
      lease?.release()
      return lease?.mayBeBehind
    }
    await take(a)
    expect(await take(a)).toBe(false)
    await until(async () => (await take(b)) === true)
    expect(await take(b)).toBe(false)
    await until(async () => (await take(a)) === true)
  })

  test('keeps what it renews, and loses what was taken from it, once', async (context) => {
    const { redis, open } = await setStage(context)
    const [a, b] = [await open(), await open()]
    let lost = 0
    const lease = await a.lease('turn:chat/one', () => {
      lost += 1
    })
    await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS))
    expect(await b.lease('turn:chat/one', () => {})).toBeUndefined()
    expect(lost).toBe(0)
    await redis.call('del', 'sw:{chat/one}:lease')
    const taken = await b.lease('turn:chat/one', () => {})
    await until(() => lost > 0)
    lease?.release()
    await new Promise((resolve) => setTimeout(resolve, LEASE_MS))
    expect(lost).toBe(1)
    // What it released was not its successor's.
    expect(taken).toBeDefined()
    expect(await a.lease('turn:chat/one', () => {})).toBeUndefined()
  })
})

test('closed: its leases, members and places are free at once', AT_ONCE, async (context) => {
  const { open } = await setStage(context)
  const [a, b] = [await open(), await open()]
  const told = presenceOf(b)
  await b.enter(ROOM, 'b')
  await a.enter(ROOM, 'a')
  await a.take('connections:one', 1)
  await a.lease('turn:chat/one', () => {})
  await a.close()
  expect(await b.lease('turn:chat/one', () => {})).toBeDefined()
  expect(await b.take('connections:one', 1)).toBe(true)
  expect(await b.members(ROOM)).toEqual(['b'])
  await until(() => told.length > 0)
  expect(told).toEqual(['a left'])
  await expect(a.members(ROOM)).rejects.toThrow('the coordination is closed')
})

describe('Redis is away', AT_ONCE, () => {
  /** How everything settles that can be asked, and whether it did in time. */
  async function askEverything(one: RedisCoordination) {
    const begin = performance.now()
    const settled = await Promise.allSettled([
      one.lease('turn:chat/other', () => {}),
      one.members(ROOM),
      one.enter(ROOM, 'late'),
    ])
    const tookMs = performance.now() - begin
    return { errors: settled.map((each) => each.status === 'rejected' && each.reason), tookMs }
  }

  test.for(['killed', 'frozen'] as const)(
    '%s: everything settles in time, limits are the own part, the lease is lost when its time is over; it heals',
    { timeout: 20_000 },
    async (how, context) => {
      const { redis, open } = await setStage(context)
      const [a, b] = [await open(), await open()]
      const [toldToA, toldToB] = [presenceOf(a), presenceOf(b)]
      await a.enter(ROOM, 'a')
      await b.enter(ROOM, 'b')
      // The others are known of.
      await until(async () => Number(await redis.call('zcard', 'sw:{places-0}:alive')) === 2)
      await new Promise((resolve) => setTimeout(resolve, LEASE_MS / 2))
      const heard: string[] = []
      const ear = b.listen(ROOM, (text) => heard.push(text))
      const voice = a.listen(ROOM, () => {})
      expect(await a.take('connections:one', 4)).toBe(true)
      let lostAt = 0
      const held = await a.lease('turn:chat/one', () => {
        lostAt = performance.now()
      })
      expect(held).toBeDefined()
      const begin = performance.now()
      if (how === 'killed') await redis.kill()
      else redis.freeze()

      const { errors, tookMs } = await askEverything(a)
      for (const error of errors) expect(error).toBeInstanceOf(Error)
      expect(tookMs).toBeLessThan(TIMEOUT_MS + SLACK_MS)
      const asked = performance.now()
      // One is taken already, and two of four are its part.
      expect(await a.take('connections:one', 4)).toBe(true)
      expect(await a.take('connections:one', 4)).toBe(false)
      expect(await a.take('connections:two', 1)).toBe(true)
      expect(performance.now() - asked).toBeLessThan(TIMEOUT_MS + SLACK_MS)
      await until(() => lostAt > 0)
      expect(lostAt - begin).toBeLessThan(LEASE_MS + SLACK_MS)

      if (how === 'killed') await redis.restart({ empty: true })
      else redis.wake()
      await until(async () => (await b.lease('turn:chat/one', () => {}).catch(() => undefined)) !== undefined)
      await until(async () => {
        const members = await a.members(ROOM).catch((): readonly string[] => [])
        return ['a', 'b', 'late'].every((member) => members.includes(member))
      })
      // What was given meanwhile counts again for all.
      await until(async () => !(await b.take('connections:two', 1)))
      expect(await b.take('connections:one', 4)).toBe(true)
      expect(await b.take('connections:one', 4)).toBe(true)
      expect(await b.take('connections:one', 4)).toBe(false)
      await until(() => {
        voice.send('hello')
        return heard.includes('hello')
      })
      ear.end()
      await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS))
      // Nobody was taken for dead; who entered while nobody could be told is told of now.
      expect([...toldToA, ...toldToB]).toEqual(['late joined'])
    },
  )
})
