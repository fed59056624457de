import { Counter, Gauge, Registry } from '@prometheus-io/client'
import { CLOSES } from '../protocol/close-codes.ts'
import type { Telemetry } from '../telemetry.ts'
import { type MetricRows, metricRowsSchema } from './metric-rows.ts'
import { processMetrics } from './process-metrics.ts'

/** Close codes that get a row of their own; a client may choose any from 4000 to 4999, and each row is kept for ever. */
const TOLD_CODES: ReadonlySet<number> = new Set([
  ...Object.values(CLOSES).map(({ code }) => code),
  ...[1000, 1001, 1002, 1005, 1006, 1007],
])

/** What Prometheus is told of a server and its process. */
export interface ServerMetrics {
  /** In Prometheus' text format. */
  text(): Promise<string>
  /** To be added to those of other processes. */
  rows(): Promise<MetricRows>
}

/**
 * The metrics of a server and its process. The server's own numbers are read from the telemetry when they
 * are asked for, so counting costs it nothing more.
 */
export function createServerMetrics(telemetry: Telemetry): ServerMetrics {
  const registry = new Registry()
  const registers = [registry]

  function gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  }

  function gauges<L extends string>(
    name: string,
    help: string,
    label: L,
    read: () => Iterable<readonly [string, number]>,
  ): void {
    new Gauge<string>({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        for (const [value, number] of read()) this.set({ [label]: value }, number)
      },
    })
  }

  function counter(name: string, help: string, read: () => number): void {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  }

  function counters<L extends string>(
    name: string,
    help: string,
    label: L,
    read: () => Iterable<readonly [string | number, number]>,
  ): void {
    new Counter<string>({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset()
        for (const [value, number] of read()) this.inc({ [label]: value }, number)
      },
    })
  }

  gauge('statewire_connections', 'Connections that are open now.', () => telemetry.connectionsOpen)
  counter('statewire_connections_opened_total', 'Connections that were accepted.', () => telemetry.connectionsOpened)
  counter('statewire_frames_received_total', 'Messages that came from clients.', () => telemetry.framesReceived)
  counter('statewire_frames_sent_total', 'Frames that were sent to clients.', () => telemetry.framesSent)
  counters('statewire_closes_total', 'Connections that ended, by close code.', 'code', function* () {
    for (const [code, number] of telemetry.closes) yield [TOLD_CODES.has(code) ? code : 'other', number]
  })
  counters(
    'statewire_refused_upgrades_total',
    'Requests that were refused before they became a connection, by HTTP status.',
    'status',
    () => telemetry.refusedUpgrades,
  )
  counters(
    'statewire_cuts_total',
    'Connections that were lost or cut without a close frame, by reason.',
    'reason',
    () => telemetry.cuts,
  )
  gauges('statewire_llm_running', 'Turns that have their place at the model now.', 'route', function* () {
    for (const [route, queue] of telemetry.queues) yield [route, queue.running()]
  })
  gauges('statewire_llm_waiting', 'Turns that wait for a place at the model now.', 'route', function* () {
    for (const [route, queue] of telemetry.queues) yield [route, queue.waiting()]
  })
  const all = Registry.merge([registry, processMetrics()])
  return {
    text: () => all.metrics(),
    rows: async () => metricRowsSchema.parse(JSON.parse(JSON.stringify(await all.getMetricsAsJSON()))),
  }
}
