import { pino } from 'pino'
import { expect, test } from 'vitest'
import { createChannels } from '../src/channel/channels.ts'
import { createLocalCoordination } from '../src/coordination/local-coordination.ts'
import { type ChannelLog, LogError } from '../src/log/channel-log.ts'
import { createMemoryLog } from '../src/log/memory-log.ts'
import { keepSweeping, SWEEP_INTERVAL_MS, TAKE_UP_INTERVAL_MS } from '../src/upkeep.ts'
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
    'unfinished turns are looked for again',
    'taking up an unfinished turn',
    'a channel with an unfinished turn could not be read',
  ])
  expect(await look(undefined, 1)).toEqual(['channels with an unfinished turn can be read again'])
  letRun()
})

test('C14 parts of the store that fail are told once, and the turns of the others are taken up', async () => {
  const inner = createMemoryLog()
  const damage = new LogError('failed', 'it is damaged')
  let failing = ['ai-chat/two', 'ai-chat/three']
  let asked = 0
  const read: string[] = []
  const log: ChannelLog = {
    ...inner,
    async unfinished(onFailed) {
      asked++
      for (const part of failing) onFailed?.(part, damage)
      return [KEY]
    },
    async head(key) {
      read.push(key)
      return inner.head(key)
    },
  }
  const { clock, letRun } = createTestClock()
  const lines: { msg: string; part?: string }[] = []
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) })
  await startServer({}, { log, clock, logger, coordination: createLocalCoordination(clock) })
  const rounds = async () => {
    read.length = 0
    lines.length = 0
    for (const last = asked + ROUNDS; asked < last; await new Promise(setImmediate)) clock.advance(TAKE_UP_INTERVAL_MS)
    for (let i = 0; i < 20; i++) await new Promise(setImmediate)
    return lines.filter(({ msg }) => msg.includes('looked for')).map(({ msg, part }) => `${msg}: ${part}`)
  }
  expect(await rounds()).toEqual(['unfinished turns could not be looked for: ai-chat/two'])
  expect(new Set(read)).toEqual(new Set([KEY]))
  failing = ['ai-chat/three']
  expect(await rounds()).toEqual([])
  failing = []
  expect(await rounds()).toEqual(['unfinished turns are looked for again: undefined'])
  letRun()
})

test('G15 turns that cannot be folded, all or some, do not keep old channels from being forgotten', async () => {
  const inner = createMemoryLog()
  const damage = new LogError('failed', 'it is damaged')
  const asked: string[] = []
  let harm: 'some' | 'all' | undefined = 'some'
  const log: ChannelLog = {
    ...inner,
    async fold(_, onFailed) {
      asked.push('fold')
      if (harm === 'all') throw new LogError('failed', 'the store is away')
      if (harm === 'some') onFailed?.(KEY, damage)
      return 0
    },
    async expire(_before, _keep, onFailed) {
      asked.push('expire')
      if (harm !== undefined) onFailed?.(KEY, damage)
      return []
    },
  }
  const { clock } = createTestClock()
  const lines: string[] = []
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
  const config = { RESUME_WINDOW_S: 1, SESSION_TTL_S: 1 }
  const channels = createChannels(() => {
    throw new Error('nobody opens one')
  })
  const coordination = createLocalCoordination(clock)
  const end = keepSweeping({ config, clock, logger, log, channels, coordination })
  const sweep = async () => {
    asked.length = 0
    lines.length = 0
    clock.advance(SWEEP_INTERVAL_MS)
    for (let i = 0; i < 20; i++) await new Promise(setImmediate)
    expect(asked).toEqual(['fold', 'expire'])
    return lines.slice()
  }
  expect(await sweep()).toEqual(['old turns could not be folded', 'old channels could not be forgotten'])
  expect(await sweep()).toEqual([])
  harm = 'all'
  expect(await sweep()).toEqual(['old turns could not be folded'])
  harm = undefined
  expect((await sweep()).sort()).toEqual([
    'old channels are forgotten again',
    'old turns are folded again',
    'old turns are folded again',
  ])
  end()
})
