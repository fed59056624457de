import { expect, test } from 'vitest'
import { parsePosition } from '../../src/protocol/position.ts'

const parse = (query: string) => parsePosition(new URLSearchParams(query))

test('G2 a position is read from the query', () => {
  expect(parse('epoch=aB_-9&offset=17')).toEqual({ epoch: 'aB_-9', offset: 17 })
  expect(parse('offset=0&epoch=x&other=1')).toEqual({ epoch: 'x', offset: 0 })
  expect(parse(`epoch=${'x'.repeat(64)}&offset=999999999999999`)).toMatchObject({ offset: 999_999_999_999_999 })
})

test.each([
  '',
  'epoch=x',
  'offset=1',
  'epoch=&offset=1',
  'epoch=x&offset=',
  'epoch=x&offset=-1',
  'epoch=x&offset=1.5',
  'epoch=x&offset=01',
  'epoch=x&offset=1e3',
  'epoch=x&offset=+1',
  'epoch=x&offset=%201',
  'epoch=x&offset=0x1',
  'epoch=x&offset=NaN',
  'epoch=x&offset=9999999999999999',
  'epoch=a%20b&offset=1',
  "epoch='--&offset=1",
  `epoch=${'x'.repeat(65)}&offset=1`,
])('G3 %j is no position: the join is a fresh one', (query) => {
  expect(parse(query)).toBeUndefined()
})
