import { afterEach, expect, test } from 'vitest'
import { openRedisCoordination } from '../../src/coordination/redis-coordination.ts'
import { createQueueUsers } from '../support/queue-users.ts'
import { startSentinel, until } from '../support/redis.ts'

const ROOM = 'room/a'
const ending: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end()
})

/** Answers what a promise does, and undefined where it rejects: Redis is away. */
const orNot = <T>(asked: Promise<T>) => asked.catch(() => undefined)

test.each(['killed', 'frozen'] as const)(
  'C14 R3 Q4 Q5 the master was %s and a replica took over: leases, rooms, places, the queue and the rates go on',
  async (how) => {
    const redis = await startSentinel({ downAfterMs: 400 })
    ending.push(() => redis.close())
    const open = async () => {
      const one = await openRedisCoordination({ url: redis.url })
      ending.push(() => one.close())
      return one
    }
    const [a, b] = [await open(), await open()]
    const told: string[] = []
    for (const one of [a, b]) one.onPresence((_, member, change) => told.push(`${member} ${change}`))
    await a.enter(ROOM, 'a')
    await b.enter(ROOM, 'b')
    let isLost = false
    const lease = await a.lease('turn:chat/one', () => {
      isLost = true
    })
    for (const one of [a, b]) expect(await one.take('connections:one', 3)).toBe(true)
    const served: string[] = []
    const limits = { concurrency: 2, limit: 9 }
    const [ofA, ofB] = [a, b].map((one) => createQueueUsers(one.queue('chat', limits), served))
    if (ofA === undefined || ofB === undefined) return expect.unreachable()
    for (const name of ['a0', 'a1', 'a2']) await ofA.ask('a', name)
    await ofB.ask('b', 'b0')
    const rate = b.rate('address', { perSecond: 100, burst: 100 })

    const begin = performance.now()
    if (how === 'killed') await redis.master.kill()
    else redis.master.freeze()
    await until(async () => (await redis.masterPort()) !== redis.master.port)
    await until(async () => (await orNot(b.members(ROOM)))?.length === 2)
    console.log(`master ${how}: the coordination answered again after ${Math.round(performance.now() - begin)} ms`)
    if (how === 'frozen') redis.master.wake()

    // Held by one at most; who lost it was told.
    const next = await orNot(b.lease('turn:chat/one', () => {}))
    if (!isLost) expect(next).toBeUndefined()
    next?.release()
    lease?.release()
    await until(async () => ((await orNot(b.lease('turn:chat/one', () => {})))?.token ?? 0) > (lease?.token ?? 0))

    await until(async () => (await orNot(a.take('connections:one', 3))) === true)
    expect(await b.take('connections:one', 3)).toBe(false)

    ofA.release('a0')
    await until(() => served.length >= 3)
    ofA.release('a1')
    await until(() => served.length === 4)
    expect(served.toSorted()).toEqual(['a0', 'a1', 'a2', 'b0'])
    for (const name of ['a2', 'b0']) for (const users of [ofA, ofB]) users.release(name)
    expect(await ofB.ask('c', 'c0')).toBe('granted')

    rate.take('one')
    const later = a.rate('address', { perSecond: 1, burst: 1 })
    await until(() => {
      if (later.waitMs('two') === 0) later.take('two')
      return later.waitMs('two') > 0
    })
    expect(await a.members(ROOM)).toEqual(['a', 'b'])
    expect(told.filter((line) => line.endsWith('left'))).toEqual([])
  },
  30_000,
)
