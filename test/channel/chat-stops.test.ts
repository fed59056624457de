import { expect, test } from 'vitest'
import { apply, createChatState } from '../../src/channel/chat-state.ts'
import { createChatStops } from '../../src/channel/chat-stops.ts'
import { createFrameLine } from '../../src/channel/frame-line.ts'
import { LogError, LogUnreachable } from '../../src/log/channel-log.ts'
import type { Entry } from '../../src/protocol/entry.ts'
import { createFakeClock } from '../support/fake-clock.ts'

const RETRY_MS = 1_000
const AWAY = new LogUnreachable('away')

/** The stops of a chat with two open turns, `t1` and `t2`, whose log does what the test says. */
function createStops() {
  const clock = createFakeClock()
  const state = createChatState()
  const take = (entry: Entry) => apply(state, entry, 10)
  for (const turn_id of ['t1', 't2'])
    take({ type: 'user_message', turn_id, content: 'hello', client_id: 'c', conversation_id: 'k' })
  const told: string[] = []
  const tried: string[] = []
  const log: { append?: unknown; read?: unknown } = {}
  const line = createFrameLine({ clock, onIdle() {}, onFault: (fault) => told.push(`fault ${fault}`) })
  const chat = {
    state,
    async whenRead() {
      if (log.read !== undefined) throw log.read
    },
    async append(entry: Entry, producer: string, sequence: number | string) {
      tried.push(`${producer} ${sequence}`)
      if (log.append !== undefined) throw log.append
      take(entry)
      return { epoch: 'e', offset: 1, repeated: false }
    },
    stopIsUnsaved: (turn_id: string) => void told.push(`unsaved ${turn_id}`),
    stopsAreSaved: () => void told.push('saved'),
  }
  const stops = createChatStops(chat, line, clock)
  const end = (turn_id: string) => take({ ...END, turn_id })
  return { clock, state, line, stops, log, told, tried, end }
}

const END = {
  type: 'ai_stream_end',
  outcome: 'completed',
  finish_reason: null,
  usage: null,
  content: '',
  metadata: { total_words: 0 },
} as const

/** What follows from a promise that has settled has happened. */
const settled = () => new Promise(setImmediate)

test('C6 a stop that the log does not take is tried each second until it does, and told once', async () => {
  const { clock, state, stops, log, told, tried } = createStops()
  log.append = AWAY
  stops.stop(undefined)
  await settled()
  // Asked again, it is under way already.
  stops.stop('t1')
  await settled()
  expect(tried).toEqual(['stop:t1 stop'])
  for (let second = 0; second < 3; second++) {
    expect(stops.isUnderWay).toBe(true)
    clock.advance(RETRY_MS)
    await settled()
  }
  expect(tried).toHaveLength(4)
  log.append = undefined
  clock.advance(RETRY_MS)
  await settled()
  expect(state.open.get('t1')?.isStopWanted).toBe(true)
  expect(state.open.get('t2')?.isStopWanted).toBe(false)
  expect(stops.isUnderWay).toBe(false)
  clock.advance(2 * RETRY_MS)
  await settled()
  expect(tried).toHaveLength(5)
  expect(told).toEqual(['unsaved t1', 'saved'])
})

test('C6 a stop of a log that cannot be read anew, and the stops that wait behind it, hold when it can', async () => {
  const { clock, state, stops, log, told } = createStops()
  log.read = AWAY
  stops.stop('t2')
  stops.stop(undefined)
  await settled()
  expect(told).toEqual(['unsaved t2', 'unsaved t1'])
  log.read = undefined
  clock.advance(RETRY_MS)
  await settled()
  expect([...state.open.values()].map(({ isStopWanted }) => isStopWanted)).toEqual([true, true])
  expect(told.at(-1)).toBe('saved')
})

test('C6 a stop that finds no place in the line is written all the same', async () => {
  const { clock, state, line, stops, told } = createStops()
  const hold = { length: () => Number.POSITIVE_INFINITY, run: () => new Promise<void>(() => {}), failed() {} }
  line.add(hold)
  line.add(hold)
  stops.stop(undefined)
  clock.advance(RETRY_MS)
  await settled()
  expect(state.open.get('t1')?.isStopWanted).toBe(true)
  expect(told).toEqual(['saved'])
})

test('C6 nothing is left of a stop whose turn is over, nor where the log or the channel has ended', async () => {
  const { clock, stops, log, told, tried, end } = createStops()
  log.append = AWAY
  stops.stop('t1')
  await settled()
  end('t1')
  clock.advance(RETRY_MS)
  await settled()
  expect(stops.isUnderWay).toBe(false)
  stops.stop('t2')
  await settled()
  log.append = new LogError('closed', 'the log is closed')
  clock.advance(RETRY_MS)
  await settled()
  expect(stops.isUnderWay).toBe(false)
  log.append = AWAY
  stops.stop('t2')
  await settled()
  expect(told).toEqual(['unsaved t1', 'saved', 'unsaved t2', 'saved', 'unsaved t2'])
  stops.end()
  const before = tried.length
  clock.advance(2 * RETRY_MS)
  await settled()
  expect(tried).toHaveLength(before)
})

test('C6 a stop for which the line has no place, and which the log does not take either, is told', async () => {
  const { clock, line, stops, log, told, tried } = createStops()
  const first = Promise.withResolvers<void>()
  const frame = (run: () => Promise<void>) => ({ length: () => 1, run, failed() {} })
  line.add(frame(() => first.promise))
  while (line.add(frame(async () => {})));
  log.append = AWAY
  stops.stop('t1')
  expect(told).toEqual([])
  for (let n = 0; n < 3; n++) {
    clock.advance(RETRY_MS)
    await settled()
  }
  expect(tried.length).toBeGreaterThan(1)
  expect(told).toEqual(['unsaved t1'])
  first.resolve()
})
