import { expect, test } from 'vitest'
import { createTurnstile } from '../../src/connection/turnstile.ts'

const turn = () => new Promise(setImmediate)

test('so many pass in one turn of the event loop, the others in the next ones, in order', async () => {
  const turnstile = createTurnstile(3)
  const passed: number[] = []
  const come = (n: number) => void turnstile().then(() => passed.push(n))
  for (let n = 0; n < 7; n++) come(n)
  await Promise.resolve().then(() => {})
  expect(passed).toEqual([0, 1, 2])
  await turn()
  expect(passed).toEqual([0, 1, 2, 3, 4, 5])
  // Who comes now comes behind those who wait.
  come(7)
  await turn()
  await turn()
  expect(passed).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  await turn()
  for (let n = 8; n < 12; n++) come(n)
  await Promise.resolve().then(() => {})
  expect(passed.slice(8)).toEqual([8, 9, 10])
})
