import { pino } from 'pino'
import { expect, test } from 'vitest'
import { type ChannelLog, LogError } from '../../src/log/channel-log.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import type { Entry } from '../../src/protocol/entry.ts'
import { framesOf, startClockedServer } from '../support/chat-server.ts'

const LEFT_OVER: Entry[] = [
  { type: 'user_message', turn_id: 'old', content: 'hello', client_id: 'gone', conversation_id: 'c' },
  { type: 'typing', turn_id: 'old' },
  { type: 'attempt', turn_id: 'old', attempt: 1, run: 1 },
  { type: 'ai_stream_chunk', turn_id: 'old', content: 'so far', metadata: { index: 0 } },
]

test('C14 a left-over turn whose end cannot be written is tried again in a while, not without a pause, and is told of once', async () => {
  const inner = createMemoryLog()
  for (const [at, entry] of LEFT_OVER.entries()) {
    await inner.append('ai-chat/one', entry, { producer: 'old', sequence: at, seenHead: at, epoch: 'old' })
  }
  let tries = 0
  let isFull = true
  const log: ChannelLog = {
    ...inner,
    append(key, entry, options) {
      tries++
      return isFull ? Promise.reject(new LogError('failed', 'full')) : inner.append(key, entry, options)
    },
  }
  const lines: string[] = []
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
  const count = (message: string) => lines.filter((line) => line === message).length
  const chat = await startClockedServer({}, { log, logger })
  const client = await chat.join()
  await client.next('ai_stream_chunk')
  for (let second = 0; second < 3; second++) {
    chat.clock.advance(1_000)
    // Far more turns of the loop than a try takes.
    for (let i = 0; i < 200; i++) await new Promise(setImmediate)
  }
  expect(tries).toBeGreaterThanOrEqual(3)
  expect(tries).toBeLessThanOrEqual(5)
  // At the start, after which nobody needs the channel, and when it was joined.
  expect(count('a turn could not be taken up')).toBe(2)
  expect(count('turns can be taken up again')).toBe(0)
  isFull = false
  chat.clock.advance(1_100)
  expect(await client.next('ai_stream_end')).toMatchObject({ turn_id: 'old', outcome: 'interrupted' })
  expect(framesOf(client, 'ai_stream_end')).toHaveLength(1)
  await expect.poll(() => count('turns can be taken up again')).toBe(1)
  expect(count('a turn could not be taken up')).toBe(2)
})
