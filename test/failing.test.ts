import { pino } from 'pino'
import { expect, test } from 'vitest'
import { createFailing, createOutages } from '../src/failing.ts'
import { createFakeClock } from './support/fake-clock.ts'

function createLogged() {
  const lines: string[] = []
  const write = (line: string) => {
    const { channel, err, reason, msg } = JSON.parse(line)
    lines.push([msg, channel, err?.message ?? reason].filter(Boolean).join(' '))
  }
  const logger = pino({}, { write })
  const clock = createFakeClock()
  const outages = createOutages(logger, clock, 'fails', 'works')
  return { lines, clock, outages, failing: createFailing(logger, 'channel', 'fails', 'works') }
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

test('an outage is told once for all, whatever works meanwhile, and is over when something works after a while without it', () => {
  const { lines, clock, outages } = createLogged()
  outages.worked()
  for (let outage = 0; outage < 2; outage++) {
    for (let second = 0; second < 15; second++) {
      for (const channel of ['a', 'b']) outages.failed(new Error('away'), { channel })
      outages.worked()
      clock.advance(1_000)
    }
    clock.advance(10_000)
    outages.worked()
    outages.worked()
  }
  expect(lines).toEqual(['fails a away', 'works away', 'fails a away', 'works away'])
})

test('each reason of an outage is told, and is over for itself', () => {
  const { lines, clock, outages } = createLogged()
  outages.failed(new Error('late'), { channel: 'a' })
  clock.advance(9_000)
  for (const reason of ['refused', 'refused']) outages.failed(new Error(reason), { channel: 'b' })
  clock.advance(1_000)
  outages.worked()
  clock.advance(9_000)
  outages.worked()
  expect(lines).toEqual(['fails a late', 'fails b refused', 'works late', 'works refused'])
})
