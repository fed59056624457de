import { pino } from 'pino'
import { expect, test } from 'vitest'
import { createFailing } from '../src/failing.ts'

function createLogged() {
  const lines: string[] = []
  const write = (line: string) => {
    const { channel, err, reason, msg } = JSON.parse(line)
    lines.push([msg, channel, err?.message ?? reason].filter(Boolean).join(' '))
  }
  return { lines, failing: createFailing(pino({}, { write }), 'channel', 'fails', 'works') }
}

test('what fails again and again is told once, and once when it works again; then it may be told anew', () => {
  const { lines, failing } = createLogged()
  failing.worked('a')
  for (let round = 0; round < 2; round++) {
    for (let second = 0; second < 3; second++) failing.failed('a', new Error('away'))
    failing.worked('a')
    failing.worked('a')
  }
  expect(lines).toEqual(['fails a away', 'works away', 'fails a away', 'works away'])
})

test('a changed reason is told, and one that comes back in turn is not told twice', () => {
  const { lines, failing } = createLogged()
  for (const reason of ['late', 'refused', 'late', 'refused']) failing.failed('a', new Error(reason))
  failing.worked('a')
  expect(lines).toEqual(['fails a late', 'fails a refused', 'works late', 'works refused'])
})

test('one reason of many names is told once, and is over with the last of them; one that fails for its own does not hide it', () => {
  const { lines, failing } = createLogged()
  failing.failed('damaged', new Error('bad record'))
  for (let outage = 0; outage < 2; outage++) {
    for (const name of ['a', 'b']) failing.failed(name, new Error('away'))
    expect([...failing.names()].sort()).toEqual(['a', 'b', 'damaged'])
    failing.worked('a')
    expect(lines.at(-1)).toBe('fails a away')
    failing.worked('b')
    expect(lines.at(-1)).toBe('works away')
  }
  expect(lines).toHaveLength(5)
})

test('what is not tried any more is forgotten without a word', () => {
  const { lines, failing } = createLogged()
  failing.failed('a', new Error('away'))
  failing.forget('a')
  expect([...failing.names()]).toEqual([])
  failing.worked('a')
  expect(lines).toEqual(['fails a away'])
})
