import { pino } from 'pino'
import { expect, test } from 'vitest'
import { createLocalCoordination } from '../src/coordination/local-coordination.ts'
import { type ChannelLog, LogError } from '../src/log/channel-log.ts'
import { createMemoryLog } from '../src/log/memory-log.ts'
import { TAKE_UP_INTERVAL_MS } from '../src/upkeep.ts'
import { createTestClock } from './support/chat-server.ts'
import { startServer } from './support/server.ts'

const KEY = 'ai-chat/one'
const ROUNDS = 3

test('a store that is away for long, and a channel that cannot be read, are told once, and once when they are well', async () => {
  const inner = createMemoryLog()
  let trouble: 'store' | 'channel' | undefined
  let unfinished: string[] = []
  let asked = 0
  const log: ChannelLog = {
    ...inner,
    async unfinished() {
      asked++
      if (trouble === 'store') throw new LogError('failed', 'the store is away')
      return unfinished
    },
    head: (key) =>
      trouble === 'channel' ? Promise.reject(new LogError('failed', 'a damaged record')) : inner.head(key),
  }
  const { clock, letRun } = createTestClock()
  const lines: string[] = []
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
  await startServer({}, { log, clock, logger, coordination: createLocalCoordination(clock) })
  lines.length = 0
  const look = async (what: typeof trouble, rounds = ROUNDS) => {
    trouble = what
    for (let round = 0; round < rounds; round++) {
      const before = asked
      // The next round is set when the last one is over, which takes some turns of the loop.
      while (asked === before) {
        clock.advance(TAKE_UP_INTERVAL_MS)
        await new Promise(setImmediate)
      }
    }
    for (let i = 0; i < 20; i++) await new Promise(setImmediate)
    return lines.splice(0)
  }
  expect(await look(undefined)).toEqual([])
  unfinished = [KEY]
  expect(await look('store')).toEqual(['unfinished turns could not be looked for'])
  expect(await look('channel')).toEqual([
    'taking up an unfinished turn',
    'a channel with an unfinished turn could not be read',
    'unfinished turns are looked for again',
  ])
  expect(await look(undefined, 1)).toEqual(['channels with an unfinished turn can be read again'])
  letRun()
})
