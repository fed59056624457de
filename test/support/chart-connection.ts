import { pino } from 'pino'
import type { Clock } from '../../src/actor/clock.ts'
import { Channel } from '../../src/channel/channel.ts'
import type { Snapshot } from '../../src/channel/snapshot.ts'
import { loadConfig } from '../../src/config.ts'
import { Connection } from '../../src/connection/connection.ts'
import { createReading } from '../../src/connection/unread.ts'
import { createLocalCoordination } from '../../src/coordination/local-coordination.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { createTelemetry } from '../../src/telemetry.ts'
import type { Plan } from './chart-drive.ts'
import type { Edge, Step } from './chart-graph.ts'

/** A channel that is never done with telling its snapshot, so that a connection catches up until the test says otherwise. */
class EndlessChannel extends Channel {
  protected override clear(): void {}
  protected override fold(): void {}
  protected override after(): void {}
  protected override loaded(): void {}
  override snapshot(): Promise<Snapshot> {
    return new Promise(() => {})
  }
  override hasConversation(): boolean {
    return false
  }
  override post(): void {}
  override isBusy(): boolean {
    return false
  }
  override enter(): void {}
  override tellPresence(): void {}
  override stop(): void {}
}

/** A connection over a socket that does nothing by itself: whatever happens to it is the test's doing. */
export interface FakeConnection extends Connection {
  readonly plan: Plan
  readonly fake: { buffered: number }
}

const config = loadConfig({ RATE_BURST: '1', RATE_STRIKES: '1' })
const logger = pino({ level: 'silent' })
const ROUTES = { isChat: 'chat', isRoom: 'room', isEcho: 'ws' } as const
type Route = (typeof ROUTES)[keyof typeof ROUTES]

/** The route on which the guards of these steps answer what they are to; undefined where no route does. */
function routeFor(steps: readonly Step[]): Route | undefined {
  return Object.values(ROUTES).find((route) =>
    steps.every(({ answers }) =>
      Object.entries(ROUTES).every(
        ([guard, its]) => answers[guard] === undefined || answers[guard] === (its === route),
      ),
    ),
  )
}

/** Why no connection can ever take an edge: its guards' answers exclude each other. Undefined for most. */
export function whyImpossible({ path, step }: Edge): string | undefined {
  if (routeFor([...path.map((before) => before.step), step]) === undefined) return 'it would be on two routes at once'
  return undefined
}

export function createFakeConnection(plan: Plan, clock: Clock): FakeConnection {
  const fake = { buffered: 0 }
  const socket = { send() {}, ping() {}, end() {}, cut() {}, buffered: () => fake.buffered }
  const route = routeFor(plan.steps)
  if (route === undefined) throw new Error('no route answers so')
  const request = { route, channel: 'one', isNew: true, query: new URLSearchParams(), headers: {}, ip: '127.0.0.1' }
  const connection = new Connection(socket, request, {
    config,
    clock,
    logger,
    telemetry: createTelemetry(),
    reading: createReading(logger, clock),
    reconnectAfterMs: () => 0,
    onReleased() {},
  })
  connection.channel = new EndlessChannel(
    { log: createMemoryLog(), coordination: createLocalCoordination(clock), clock },
    `${route}/one`,
  )
  return Object.assign(connection, { plan, fake })
}

/** Gives a connection the data that make its guards answer what a step needs. */
export function bringAbout(connection: FakeConnection, { answers }: Step, clock: Clock): void {
  const { isSilent, isReaderSlow, isReaderMoving, isAbusive } = answers
  if (isSilent !== undefined) connection.heardAt = isSilent ? Number.NEGATIVE_INFINITY : clock.now()
  if (isReaderSlow !== undefined) {
    connection.fake.buffered = isReaderSlow ? 1 : 0
    connection.progressAt = isReaderSlow ? clock.now() : Number.NEGATIVE_INFINITY
  }
  if (isReaderMoving !== undefined) connection.progressAt = isReaderMoving ? clock.now() : Number.NEGATIVE_INFINITY
  if (isAbusive === true) while (!connection.rate.isAbusive()) connection.rate.take(clock.now())
}
