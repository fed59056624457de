import { expect, test } from 'vitest'
import { returnSpreadMs } from '../../src/connection/return-spread.ts'

test('L8 a thousand clients a second come back from a drain: in a second at least, and in the time of a drain at most', () => {
  const spread = (connections: number) => returnSpreadMs(connections, 30_000)
  expect([0, 1, 30, 1_000].map(spread)).toEqual([1_000, 1_000, 1_000, 1_000])
  expect([1_001, 18_000, 30_000].map(spread)).toEqual([1_001, 18_000, 30_000])
  expect([30_001, 1_000_000].map(spread)).toEqual([30_000, 30_000])
})

test('L8 a drain shorter than a second does not bring everybody back at once', () => {
  for (const longest of [0, 150]) for (const count of [1, 18_000]) expect(returnSpreadMs(count, longest)).toBe(1_000)
})
