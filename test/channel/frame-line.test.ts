import { expect, test } from 'vitest'
import { createFrameLine, MAX_WAIT_MS, MAX_WAITING, MAX_WAITING_LENGTH } from '../../src/channel/frame-line.ts'
import { LogError, LogUnreachable } from '../../src/log/channel-log.ts'
import { createFakeClock } from '../support/fake-clock.ts'

const AWAY = new LogUnreachable('away')

/** A line, and what became of its frames: `+a` was begun, `-a` failed. Each frame takes until the test ends it. */
function createLine() {
  const clock = createFakeClock()
  const told: string[] = []
  const faults: unknown[] = []
  const line = createFrameLine({ clock, onIdle: () => told.push('idle'), onFault: (fault) => faults.push(fault) })
  function add(name: string, length = 1) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const isTaken = line.add({
      length: () => length,
      run() {
        told.push(`+${name}`)
        return promise
      },
      failed: () => void told.push(`-${name}`),
    })
    return { isTaken, done: resolve, fail: reject }
  }
  return { clock, line, told, faults, add }
}

/** What follows from a promise that has settled has happened. */
const settled = () => new Promise(setImmediate)

test('C5 one after the other, each begun when the one before it is done, whether it could be or not', async () => {
  const { line, told, add } = createLine()
  const [a, b, c] = [add('a'), add('b'), add('c')]
  expect(told).toEqual(['+a'])
  a.fail(new LogError('failed', 'refused'))
  await settled()
  expect(told).toEqual(['+a', '-a', '+b'])
  b.done()
  await settled()
  expect(line.isIdle).toBe(false)
  c.done()
  await settled()
  expect(told).toEqual(['+a', '-a', '+b', '+c', 'idle'])
  expect(line.isIdle).toBe(true)
})

test('C5 where the log cannot be reached, all that waits fails at once; what comes later tries anew', async () => {
  const { told, add } = createLine()
  const a = add('a')
  for (const name of ['b', 'c']) add(name)
  a.fail(AWAY)
  await settled()
  expect(told).toEqual(['+a', '-a', '-b', '-c', 'idle'])
  add('d').done()
  await settled()
  expect(told.slice(5)).toEqual(['+d', 'idle'])
})

test('C5 what has waited for too long fails without being begun, and what came after it goes on waiting', async () => {
  const { clock, told, add } = createLine()
  const a = add('a')
  add('b')
  clock.advance(MAX_WAIT_MS / 2)
  const c = add('c')
  clock.advance(MAX_WAIT_MS / 2)
  expect(told).toEqual(['+a', '-b'])
  a.done()
  await settled()
  clock.advance(MAX_WAIT_MS)
  expect(told).toEqual(['+a', '-b', '+c'])
  c.done()
  await settled()
  expect(told.at(-1)).toBe('idle')
})

test(`C5 ${MAX_WAITING} may wait, and no more`, async () => {
  const { add } = createLine()
  const a = add('a')
  for (let n = 0; n < MAX_WAITING; n++) expect(add(`${n}`).isTaken).toBe(true)
  expect(add('more').isTaken).toBe(false)
  a.fail(AWAY)
  await settled()
  expect(add('b').isTaken).toBe(true)
})

test('C5 so many characters may wait, and no more; one alone may have more, and the one in hand does not count', async () => {
  const { told, add } = createLine()
  const a = add('a', 2 * MAX_WAITING_LENGTH)
  const b = add('b', 2 * MAX_WAITING_LENGTH)
  expect(b.isTaken).toBe(true)
  expect(add('c').isTaken).toBe(false)
  a.done()
  await settled()
  for (const name of ['d', 'e']) expect(add(name, MAX_WAITING_LENGTH / 2).isTaken).toBe(true)
  expect(add('f').isTaken).toBe(false)
  b.fail(AWAY)
  await settled()
  expect(told).toEqual(['+a', '+b', '-b', '-d', '-e', 'idle'])
  expect(add('g').isTaken).toBe(true)
  expect(add('h', MAX_WAITING_LENGTH).isTaken).toBe(true)
})

test('C5 one that throws when it fails is told of, and the line goes on', async () => {
  const { line, told, faults, add } = createLine()
  const fault = new Error('fault')
  line.add({
    length: () => 1,
    run: () => Promise.reject(AWAY),
    failed() {
      throw fault
    },
  })
  add('b')
  await settled()
  expect(faults).toEqual([fault])
  add('c').done()
  await settled()
  expect(told).toEqual(['-b', 'idle', '+c', 'idle'])
})
