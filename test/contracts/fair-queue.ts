import { afterEach, describe, expect, test, vi } from 'vitest'
import type { FairQueue, QueueLimits } from '../../src/coordination/fair-queue.ts'
import { createQueueUsers } from '../support/queue-users.ts'
import type { CoordinationUnderTest } from './coordination.ts'

/** Looks often: a queue in a Redis answers within a ms. */
const SOON = { interval: 1, timeout: 5_000 }

/** What every fair queue keeps, whoever uses it alone. `start` answers an empty coordination. */
export function fairQueueContract(name: string, start: () => Promise<CoordinationUnderTest>): void {
  describe(`fair queue: ${name}`, () => {
    const opened: CoordinationUnderTest[] = []
    async function open(limits: QueueLimits) {
      const one = await start()
      opened.push(one)
      const queue = one.coordination.queue('chat', limits)
      return { queue, ...createQueueUsers(queue) }
    }
    afterEach(async () => {
      for (const one of opened.splice(0)) await one.close()
    })

    /** Serves until nobody waits, one after the other; answers who was served. */
    async function drain(queue: FairQueue, served: readonly string[], release: (name: string) => void) {
      for (let next = 0; next < served.length; next++) {
        const { length } = served
        const waits = queue.waiting() > 0
        release(served[next] ?? '')
        if (waits && queue.running() === 0) await vi.waitFor(() => expect(served.length).toBeGreaterThan(length), SOON)
      }
      expect([queue.running(), queue.waiting()]).toEqual([0, 0])
    }

    test('Q4 at most so many run at once, and the next one runs when one is released', async () => {
      const { ask, served, release, queue } = await open({ concurrency: 2, limit: 9 })
      const answers = await Promise.all(['a', 'b', 'c', 'd'].map((name) => ask(name, name)))
      expect(answers).toEqual(['granted', 'granted', 1, 2])
      expect([queue.running(), queue.waiting()]).toEqual([2, 2])
      release('b')
      await vi.waitFor(() => expect(served).toEqual(['a', 'b', 'c']), SOON)
      expect([queue.running(), queue.waiting()]).toEqual([2, 1])
    })

    test('Q4 more than the limit are refused, and there is room again once one was served', async () => {
      const { ask, release, served } = await open({ concurrency: 1, limit: 2 })
      const answers = await Promise.all(['a', 'b', 'c', 'd'].map((name) => ask(name, name)))
      expect(answers).toEqual(['granted', 1, 2, 'refused'])
      release('a')
      await vi.waitFor(() => expect(served).toEqual(['a', 'b']), SOON)
      expect(await ask('e', 'e')).toBe(2)
      expect(await ask('f', 'f')).toBe('refused')
    })

    test('Q4 where it is full, the last one of who has most waiting makes room for who has two fewer, and is told once', async () => {
      const { ask, served, refused, release, queue } = await open({ concurrency: 1, limit: 4 })
      for (const name of ['a0', 'a1', 'a2', 'a3', 'a4']) await ask('a', name)
      expect(await ask('a', 'a5')).toBe('refused')
      expect(await ask('b', 'b1')).toBe(2)
      await vi.waitFor(() => expect(refused).toEqual(['a5', 'a4']), SOON)
      expect(await ask('b', 'b2')).toBe(4)
      await vi.waitFor(() => expect(refused).toEqual(['a5', 'a4', 'a3']), SOON)
      // Both have two.
      expect([await ask('a', 'a6'), await ask('b', 'b3')]).toEqual(['refused', 'refused'])
      expect(await ask('c', 'c1')).toBe(3)
      expect(await ask('c', 'c2')).toBe('refused')
      expect(await ask('d', 'd1')).toBe(4)
      // Each of four has one.
      expect(await ask('e', 'e1')).toBe('refused')
      await drain(queue, served, release)
      expect(served).toEqual(['a0', 'a1', 'b1', 'c1', 'd1'])
      const once = ['a3', 'a4', 'a5', 'a6', 'b2', 'b3', 'c2', 'e1', 'a2'].sort()
      expect([...refused].sort()).toEqual(once)
    })

    test('Q4 one who asks again and again shuts nobody out', async () => {
      const { ask, served, refused, release, queue } = await open({ concurrency: 1, limit: 20 })
      for (let i = 0; i < 40; i++) await ask('greedy', `greedy${i}`)
      for (let i = 0; i < 10; i++) {
        expect(await ask(`user${i}`, `user${i}`)).toBe(i + 2)
        expect(await ask('greedy', `again${i}`)).toBe('refused')
      }
      await drain(queue, served, release)
      expect(served.slice(2, 12)).toEqual(Array.from({ length: 10 }, (_, i) => `user${i}`))
      expect(served.slice(12)).toEqual(Array.from({ length: 9 }, (_, i) => `greedy${i + 2}`))
      expect(refused).toHaveLength(19 + 10 + 10)
    })

    test('Q4 without room to wait, a free place is still given', async () => {
      const { ask } = await open({ concurrency: 1, limit: 0 })
      expect([await ask('a', 'a'), await ask('a', 'b')]).toEqual(['granted', 'refused'])
    })

    test("Q4 nobody waits behind one user's hundred requests", async () => {
      const { ask, served, release, queue } = await open({ concurrency: 1, limit: 200 })
      for (let i = 0; i < 100; i++) void ask('greedy', `greedy${i}`)
      for (const name of ['ann', 'ben']) void ask(name, name)
      await ask('ann', 'ann-again')
      await drain(queue, served, release)
      expect(served.slice(0, 7)).toEqual(['greedy0', 'greedy1', 'ann', 'ben', 'greedy2', 'ann-again', 'greedy3'])
      const ofGreedy = served.filter((name) => name.startsWith('greedy'))
      expect(ofGreedy).toEqual(Array.from({ length: 100 }, (_, i) => `greedy${i}`))
    })

    test('Q4 one who always has a request waiting does not keep those waiting who have several', async () => {
      const { ask, served, release } = await open({ concurrency: 1, limit: 20 })
      await ask('steady', 'steady0')
      void ask('steady', 'steady1')
      for (const name of ['b1', 'b2', 'b3']) await ask('b', name)
      for (let round = 0; round < 6; round++) {
        release(served[round] ?? '')
        await vi.waitFor(() => expect(served).toHaveLength(round + 2), SOON)
        if (served[round + 1]?.startsWith('steady')) await ask('steady', `steady${round + 2}`)
      }
      expect(served.filter((name) => name.startsWith('b'))).toEqual(['b1', 'b2', 'b3'])
    })

    test("Q4 those who come anew again and again do not keep a user's second request waiting for ever", async () => {
      const { ask, served, release } = await open({ concurrency: 1, limit: 20 })
      for (const name of ['a0', 'a1', 'a2']) await ask('a', name)
      await ask('new', 'new')
      for (let round = 0; round < 8; round++) {
        await ask(`new${round}`, `new${round}`)
        release(served[round] ?? '')
        await vi.waitFor(() => expect(served).toHaveLength(round + 2), SOON)
      }
      expect(served).toContain('a2')
    })

    test('Q4 one that is cancelled while it waits is not served, and makes room', async () => {
      const { ask, served, release, cancel, queue } = await open({ concurrency: 1, limit: 3 })
      for (const name of ['first', 'a1', 'a2', 'a3']) await ask('a', name)
      expect(await ask('a', 'refused')).toBe('refused')
      cancel('a2')
      cancel('a2')
      expect(queue.waiting()).toBe(2)
      expect(await ask('b', 'b1')).toBe(2)
      cancel('a1')
      cancel('a3')
      await drain(queue, served, release)
      expect(served).toEqual(['first', 'b1'])
    })

    test('Q4 one that is cancelled at once is not served either, and holds no place', async () => {
      const { ask, served, cancel, queue } = await open({ concurrency: 1, limit: 3 })
      void ask('a', 'a')
      cancel('a')
      expect([queue.running(), queue.waiting()]).toEqual([0, 0])
      expect(await ask('b', 'b')).toSatisfy((answer) => answer === 'granted' || answer === 1)
      await vi.waitFor(() => expect(served.at(-1)).toBe('b'), SOON)
    })

    test('Q4 who cancelled is not behind for it: the rest of his move up, and his next one comes in its turn', async () => {
      const { ask, served, release, cancel, queue } = await open({ concurrency: 1, limit: 99 })
      await ask('x', 'x')
      for (const name of ['b1', 'b2', 'b3']) await ask('b', name)
      for (let i = 0; i < 20; i++) void ask('a', `a${i}`)
      await ask('c', 'c1')
      for (let i = 0; i < 19; i++) cancel(`a${i}`)
      for (let i = 0; i < 20; i++) void ask('d', `d${i}`)
      for (let i = 19; i >= 0; i--) cancel(`d${i}`)
      await ask('d', 'd')
      await drain(queue, served, release)
      expect(served.slice(0, 5).sort()).toEqual(['a19', 'b1', 'c1', 'd', 'x'])
      expect(served.slice(5)).toEqual(['b2', 'b3'])
    })

    test('Q4 a release counts once, also together with a cancel', async () => {
      const { ask, served, release, cancel, queue } = await open({ concurrency: 1, limit: 9 })
      for (const name of ['a', 'b', 'c']) await ask(name, name)
      release('a')
      release('a')
      cancel('a')
      await vi.waitFor(() => expect(served).toEqual(['a', 'b']), SOON)
      expect([queue.running(), queue.waiting()]).toEqual([1, 1])
      cancel('b')
      release('b')
      await vi.waitFor(() => expect(served).toEqual(['a', 'b', 'c']), SOON)
      expect([queue.running(), queue.waiting()]).toEqual([1, 0])
    })

    test('Q4 a place that is released as it is granted goes to the next one', async () => {
      const { ask, served, queue } = await open({ concurrency: 1, limit: 9 })
      for (let i = 0; i < 3; i++) {
        const granted = (release: () => void) => {
          served.push(`hasty${i}`)
          release()
        }
        queue.request(`user${i}`, { granted, moved() {}, refused() {} })
      }
      void ask('b', 'b')
      await vi.waitFor(() => expect(served).toEqual(['hasty0', 'hasty1', 'hasty2', 'b']), SOON)
      expect(queue.running()).toBe(1)
    })

    test('C12 a position is told on entering, in the order of service', async () => {
      const { ask, told } = await open({ concurrency: 1, limit: 99 })
      for (const name of ['a0', 'a1', 'a2', 'a3']) void ask('a', name)
      for (const name of ['b1', 'b2']) void ask('b', name)
      void ask('c', 'c1')
      await ask('a', 'a4')
      // Served: a1 b1 c1, a2 b2, a3, a4.
      expect(told.slice(0, 7)).toEqual(['a1:1', 'a2:2', 'a3:3', 'b1:2', 'b2:4', 'c1:3', 'a4:7'])
    })

    test('C12 those behind one who gave up are told, and nobody else', async () => {
      const { ask, told, cancel } = await open({ concurrency: 1, limit: 99 })
      for (const name of ['x', 'a', 'b', 'c']) await ask(name, name)
      await ask('a', 'a-again')
      // Before the second of another.
      await ask('d', 'd')
      cancel('b')
      await vi.waitFor(() => expect(told.slice(-2).sort()).toEqual(['c:2', 'd:3']), SOON)
    })

    test('Q4 C12 random requests, cancels and releases: bounds hold, and the last positions told are the true ones', async () => {
      const { ask, cancel, release, served, told, queue, inOrder } = await open({ concurrency: 3, limit: 40 })
      let seed = 7
      const random = (below: number) => {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
        return seed % below
      }
      const names = Array.from({ length: 200 }, (_, id) => `r${id}`)
      for (const [id, name] of names.entries()) {
        await ask(`user${random(6)}`, name)
        if (random(3) === 0) cancel(names[random(id + 1)] ?? '')
        if (random(3) === 0) release(served[random(served.length)] ?? '')
        expect(queue.running()).toBeLessThanOrEqual(3)
        // Who lost his place to another may be told a moment after that one.
        await vi.waitFor(() => expect(queue.waiting()).toBeLessThanOrEqual(40), SOON)
      }
      const positions = () =>
        inOrder().map((name) => told.findLast((line) => line.startsWith(`${name}:`))?.split(':')[1])
      await vi.waitFor(() => expect(positions()).toEqual(inOrder().map((_, at) => `${at + 1}`)), SOON)
      expect(inOrder()).toHaveLength(queue.waiting())
      expect(queue.waiting()).toBeGreaterThan(5)
      // No new requests now: they are served in the order that they were told.
      const order = inOrder()
      const before = served.length
      for (let next = 0; next < served.length; next++) {
        release(served[next] ?? '')
        await vi.waitFor(() => expect(queue.running() === 3 || queue.waiting() === 0).toBe(true), SOON)
      }
      expect(served.slice(before)).toEqual(order)
    })
  })
}
