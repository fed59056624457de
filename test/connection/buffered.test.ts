import { pino } from 'pino'
import { expect, test } from 'vitest'
import { RoomChannel } from '../../src/channel/room-channel.ts'
import { loadConfig } from '../../src/config.ts'
import { Connection } from '../../src/connection/connection.ts'
import { createConnectionHost } from '../../src/connection/connection-behaviour.ts'
import { createReading } from '../../src/connection/unread.ts'
import { createLocalCoordination } from '../../src/coordination/local-coordination.ts'
import { createOutages } from '../../src/failing.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { createTelemetry } from '../../src/telemetry.ts'
import { createFakeClock } from '../support/fake-clock.ts'

const config = loadConfig({
  HEARTBEAT_INTERVAL_MS: '1000',
  HEARTBEAT_TIMEOUT_MS: '1000',
  CONGESTED_LIMIT_MS: '5000',
})

/** A live member of a room whose socket holds as many bytes as the test says. */
async function openConnection() {
  const clock = createFakeClock()
  const logger = pino({ level: 'silent' })
  const fake = { buffered: 0, sent: [] as string[], pings: 0 }
  const socket = {
    send: (text: string) => void fake.sent.push(text),
    ping: () => void fake.pings++,
    end() {},
    cut() {},
    buffered: () => fake.buffered,
  }
  const request = {
    route: 'room' as const,
    channel: 'one',
    isNew: false,
    query: new URLSearchParams(),
    headers: {},
    ip: '127.0.0.1',
  }
  const channel = new RoomChannel(
    {
      log: createMemoryLog(),
      coordination: createLocalCoordination(clock),
      clock,
      writing: createOutages(logger, clock, 'not written', 'written'),
      presence: createOutages(logger, clock, 'not told', 'told'),
      historyMessages: 10,
      onIdle() {},
    },
    'room/one',
  )
  await channel.load(false)
  const reading = createReading(logger, clock)
  const telemetry = createTelemetry()
  const options = { config, clock, logger, telemetry, reading, reconnectAfterMs: () => 0, onReleased() {} }
  const connection = new Connection(socket, request, options)
  connection.actor = createConnectionHost(clock).create(connection)
  connection.channel = channel
  channel.join(connection)
  connection.actor.send({ type: 'connection.joined' })
  await expect.poll(() => connection.actor.matches('open.flow.flowing')).toBe(true)
  return { clock, fake, channel, connection }
}

const hello = { type: 'message', content: 'hello', client_id: 'other' } as const

test('G10 a connection that is closing gets nothing live: what it does not read would pile up', async () => {
  const { fake, channel, connection } = await openConnection()
  await channel.append(hello, 'other', 1)
  expect(fake.sent.at(-1)).toContain('hello')
  fake.buffered = 30_000
  connection.binary()
  expect(connection.actor.value()).toBe('closing')
  const before = fake.sent.length
  await channel.append(hello, 'other', 2)
  expect(fake.sent).toHaveLength(before)
})

test('H2 a silent peer with bytes in its buffer is waited for while it takes some, and closed when it takes none', async () => {
  const { clock, fake, connection } = await openConnection()
  fake.buffered = 30_000
  for (let i = 0; i < 10; i++) {
    connection.progressed()
    clock.advance(1_000)
  }
  expect(fake.pings).toBeGreaterThan(1)
  expect(connection.actor.matches('open')).toBe(true)
  clock.advance(8_000)
  expect(connection.actor.matches('open')).toBe(false)
  expect(connection.close).toBe('heartbeat')
})
