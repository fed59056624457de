import { Counter, Gauge, Registry } from '@prometheus-io/client'
import type { MetricRows } from './metric-rows.ts'
import { processMetrics } from './process-metrics.ts'

/** What a supervisor itself knows. */
export interface SupervisorNumbers {
  /** Workers by the state of their chart. */
  readonly workers: () => ReadonlyMap<string, number>
  /** Workers that died and were to be started again, so far. */
  readonly restarts: () => number
}

/** The metrics of a server of several processes. */
export interface SummedMetrics {
  /** Keeps what an ended process counted: a sum must not fall when a worker is replaced. Its gauges are gone with it. */
  keep(rows: MetricRows): void
  /** Prometheus' text: the sum of what was kept, of the supervisor, and of what `living` gives when it is called. */
  text(living: () => Iterable<MetricRows>): Promise<string>
}

/** Adds up processes. What cannot be added is averaged, or is the supervisor's: the library knows of each of its metrics. */
export function createSummedMetrics({ workers, restarts }: SupervisorNumbers): SummedMetrics {
  const own = new Registry()
  let kept: object[] = []

  new Gauge({
    name: 'statewire_workers',
    help: 'Worker processes, by state.',
    labelNames: ['state'],
    registers: [own],
    collect() {
      this.reset()
      for (const [state, number] of workers()) this.set({ state }, number)
    },
  })
  new Counter({
    name: 'statewire_worker_restarts_total',
    help: 'Workers that died or froze, and were to be replaced.',
    registers: [own],
    collect() {
      this.reset()
      this.inc(restarts())
    },
  })
  const supervisor = Registry.merge([own, processMetrics()])
  // Of several starts, the sum would make no sense: the library leaves them out.
  const startTime = () => processMetrics().getSingleMetricAsString('process_start_time_seconds')

  return {
    keep(rows) {
      const counted = rows.filter(({ type }) => type !== 'gauge')
      kept = Registry.aggregate([kept, counted]).getMetricsAsArray()
    },
    async text(living) {
      const start = await startTime()
      const rows = await supervisor.getMetricsAsJSON()
      // From here to the sum nothing is awaited: a process that ends meanwhile would count twice, or not at all.
      const sum = Registry.aggregate([kept, ...living(), rows])
      return `${start}\n\n${await sum.metrics()}`
    },
  }
}
