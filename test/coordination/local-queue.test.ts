import { describe, expect, test } from 'vitest'
import type { FairQueue, Ticket } from '../../src/coordination/fair-queue.ts'
import { createLocalQueue } from '../../src/coordination/local-queue.ts'
import { createFakeClock } from '../support/fake-clock.ts'

/** A queue whose grants and positions are written down, as `name` and `name:position`. */
function setUp({ concurrency, limit }: { concurrency: number; limit: number }) {
  const clock = createFakeClock()
  const queue = createLocalQueue({ clock, concurrency, limit })
  const served: string[] = []
  const told: string[] = []
  const releases = new Map<string, () => void>()
  const tickets = new Map<string, Ticket>()

  function ask(key: string, name: string): boolean {
    let isTaken = true
    const ticket = queue.request(key, {
      granted(release) {
        served.push(name)
        releases.set(name, release)
      },
      moved: (position) => told.push(`${name}:${position}`),
      refused() {
        isTaken = false
      },
    })
    tickets.set(name, ticket)
    return isTaken
  }
  const release = (name: string) => releases.get(name)?.()
  const cancel = (name: string) => tickets.get(name)?.cancel()
  return { clock, queue, served, told, ask, release, cancel }
}

/** Serves until nobody waits, one after the other. */
function drain(queue: FairQueue, served: readonly string[], release: (name: string) => void): void {
  for (let next = 0; next < served.length; next++) release(served[next] as string)
  expect(queue.running()).toBe(0)
}

describe('the queue of one process', () => {
  test('Q4 at most so many run at once, and the next one runs when one is released', () => {
    const { ask, served, release, queue } = setUp({ concurrency: 2, limit: 9 })
    for (const name of ['a', 'b', 'c', 'd']) ask(name, name)
    expect(served).toEqual(['a', 'b'])
    expect([queue.running(), queue.waiting()]).toEqual([2, 2])
    release('b')
    expect(served).toEqual(['a', 'b', 'c'])
    expect([queue.running(), queue.waiting()]).toEqual([2, 1])
  })

  test('Q4 more than the limit are refused, and there is room again once one was served', () => {
    const { ask, release, served } = setUp({ concurrency: 1, limit: 2 })
    expect(['a', 'b', 'c', 'd'].map((name) => ask(name, name))).toEqual([true, true, true, false])
    release('a')
    expect(ask('e', 'e')).toBe(true)
    expect(ask('f', 'f')).toBe(false)
    expect(served).toEqual(['a', 'b'])
  })

  test('Q4 without room to wait, a free place is still given', () => {
    const { ask, served } = setUp({ concurrency: 1, limit: 0 })
    expect([ask('a', 'a'), ask('a', 'b')]).toEqual([true, false])
    expect(served).toEqual(['a'])
  })

  test("Q4 nobody waits behind one user's hundred requests", () => {
    const { ask, served, release, queue } = setUp({ concurrency: 1, limit: 200 })
    for (let i = 0; i < 100; i++) ask('greedy', `greedy${i}`)
    for (const name of ['ann', 'ben']) ask(name, name)
    ask('ann', 'ann-again')
    drain(queue, served, release)
    expect(served.slice(0, 7)).toEqual(['greedy0', 'greedy1', 'ann', 'ben', 'greedy2', 'ann-again', 'greedy3'])
    expect(served.filter((name) => name.startsWith('greedy'))).toEqual(
      Array.from({ length: 100 }, (_, i) => `greedy${i}`),
    )
  })

  test('Q4 one that is cancelled while it waits is not served, and makes room', () => {
    const { ask, served, release, cancel, queue } = setUp({ concurrency: 1, limit: 3 })
    for (const name of ['first', 'a1', 'a2', 'a3']) ask('a', name)
    expect(ask('a', 'refused')).toBe(false)
    cancel('a2')
    cancel('a2')
    expect(queue.waiting()).toBe(2)
    expect(ask('b', 'b1')).toBe(true)
    cancel('a1')
    cancel('a3')
    drain(queue, served, release)
    expect(served).toEqual(['first', 'b1'])
  })

  test('Q4 a release counts once, also together with a cancel', () => {
    const { ask, served, release, cancel, queue } = setUp({ concurrency: 1, limit: 9 })
    for (const name of ['a', 'b', 'c']) ask(name, name)
    release('a')
    release('a')
    cancel('a')
    expect(served).toEqual(['a', 'b'])
    expect([queue.running(), queue.waiting()]).toEqual([1, 1])
    cancel('b')
    release('b')
    expect(served).toEqual(['a', 'b', 'c'])
    expect([queue.running(), queue.waiting()]).toEqual([1, 0])
  })

  test('Q4 a place that is released as it is granted goes to the next one', () => {
    const { ask, served, queue } = setUp({ concurrency: 1, limit: 9 })
    for (let i = 0; i < 3; i++) {
      queue.request('a', {
        granted(release) {
          served.push(`hasty${i}`)
          release()
        },
        moved: () => {},
        refused: () => {},
      })
    }
    ask('b', 'b')
    expect(served).toEqual(['hasty0', 'hasty1', 'hasty2', 'b'])
    expect(queue.running()).toBe(1)
  })

  test('C12 a position is told on entering, in the order of service', () => {
    const { ask, told } = setUp({ concurrency: 1, limit: 99 })
    for (const name of ['a0', 'a1', 'a2', 'a3']) ask('a', name)
    for (const name of ['b1', 'b2']) ask('b', name)
    ask('c', 'c1')
    ask('a', 'a4')
    // Served: a1 b1 c1, a2 b2, a3, a4.
    expect(told).toEqual(['a1:1', 'a2:2', 'a3:3', 'b1:2', 'b2:4', 'c1:3', 'a4:7'])
  })

  test('C12 a lane that comes earlier in the round is served earlier in each round', () => {
    const { ask, told } = setUp({ concurrency: 1, limit: 99 })
    for (const [key, name] of ['x', 'a1', 'b1', 'b2', 'a2'].map((name) => [name[0] ?? '', name]))
      ask(key ?? '', name ?? '')
    // Served: a1 b1, a2 b2.
    expect(told.slice(-2)).toEqual(['b2:3', 'a2:3'])
  })

  test('C12 those behind one who gave up are told', () => {
    const { ask, told, cancel, clock } = setUp({ concurrency: 1, limit: 99 })
    for (const name of ['x', 'a', 'b', 'c']) ask(name, name)
    clock.advance(2_000)
    told.length = 0
    cancel('b')
    clock.advance(1_000)
    expect(told).toEqual(['c:2'])
  })

  test('C12 positions that change are told, at most once in the interval', () => {
    const { ask, told, release, clock } = setUp({ concurrency: 1, limit: 99 })
    for (const name of ['a', 'b', 'c', 'd', 'e']) ask(name, name)
    told.length = 0
    clock.advance(5_000)
    expect(told).toEqual([])
    release('a')
    release('b')
    expect(told).toEqual([])
    clock.advance(1_000)
    expect(told).toEqual(['d:1', 'e:2'])
    told.length = 0
    release('c')
    clock.advance(900)
    expect(told).toEqual([])
    clock.advance(100)
    expect(told).toEqual(['e:1'])
    clock.advance(10_000)
    expect(told).toEqual(['e:1'])
  })

  test('C12 one who has just been told is not told again before the interval is over', () => {
    const { ask, told, release, clock } = setUp({ concurrency: 1, limit: 99 })
    ask('a', 'a')
    ask('b', 'b')
    clock.advance(900)
    ask('c', 'c')
    told.length = 0
    release('a')
    clock.advance(100)
    expect(told).toEqual([])
    clock.advance(1_000)
    expect(told).toEqual(['c:1'])
  })

  test('C12 one who is pushed back by others learns it', () => {
    const { ask, told, clock } = setUp({ concurrency: 1, limit: 99 })
    for (const name of ['a0', 'a1', 'a2']) ask('a', name)
    ask('b', 'b1')
    told.length = 0
    clock.advance(1_000)
    expect(told).toEqual(['a2:3'])
  })

  test('Q4 C12 random requests, cancels and releases: bounds hold, who has most waiting loses a place, and every position told is the true one', () => {
    const { clock } = setUp({ concurrency: 1, limit: 0 })
    const queue = createLocalQueue({ clock, concurrency: 3, limit: 40 })
    let seed = 7
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      return seed % below
    }
    const waiting = new Map<number, Ticket>()
    const keys = new Map<number, string>()
    const waitingOf = (key: string) => [...waiting.keys()].filter((id) => keys.get(id) === key).length
    const mostWaiting = () => Math.max(...[...waiting.keys()].map((id) => waitingOf(keys.get(id) ?? '')))
    const refusals = { atOnce: 0, later: 0 }
    let asking = ''
    const running = new Map<number, () => void>()
    const expected = new Map<number, number>()
    const pick = <V>(map: Map<number, V>) => [...map][random(map.size)]
    for (let id = 0; id < 20_000; id++) {
      const turn = random(5)
      if (turn > 1) {
        let isTaken = true
        const key = `user${random(6)}`
        keys.set(id, key)
        asking = key
        const ticket = queue.request(key, {
          granted(release) {
            waiting.delete(id)
            running.set(id, release)
          },
          moved: (position) => expected.set(id, position),
          refused() {
            isTaken = false
            expect(waiting.size).toBe(40)
            const [own, most] = [waitingOf(key), mostWaiting()]
            if (!waiting.delete(id)) {
              refusals.atOnce++
              expect(own).toBeGreaterThanOrEqual(most - 1)
            } else {
              refusals.later++
              expect(own).toBe(most)
              expect(waitingOf(asking)).toBeLessThanOrEqual(most - 2)
              expect([...waiting.keys()].filter((other) => keys.get(other) === key && other > id)).toEqual([])
            }
          },
        })
        if (!isTaken) expect(waiting.size).toBe(40)
        else if (!running.has(id)) waiting.set(id, ticket)
      } else if (turn === 0 && waiting.size > 0) {
        const [cancelled, ticket] = pick(waiting) as [number, Ticket]
        waiting.delete(cancelled)
        ticket.cancel()
      } else if (running.size > 0) {
        const [released, release] = pick(running) as [number, () => void]
        running.delete(released)
        release()
      }
      if (running.size < 3) expect(waiting.size).toBe(0)
      expect([queue.running(), queue.waiting()]).toEqual([running.size, waiting.size])
    }
    expect(Math.min(refusals.atOnce, refusals.later)).toBeGreaterThan(500)
    clock.advance(5_000)
    const order = [...waiting.keys()].sort((a, b) => (expected.get(a) ?? 0) - (expected.get(b) ?? 0))
    expect(order.map((id) => expected.get(id))).toEqual(order.map((_, index) => index + 1))
    // No new requests now: they are served in the order that they were told.
    const served: number[] = []
    for (const release of running.values()) release()
    for (const [id, release] of running) {
      if (waiting.has(id) || order.includes(id)) served.push(id)
      release()
    }
    expect(served).toEqual(order)
  })
})
