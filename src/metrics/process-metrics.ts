import { collectDefaultMetrics, Registry } from '@prometheus-io/client'

/** Names that promtool objects to: three end like a counter and are none, two end with their type. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
  'nodejs_eventloop_utilization_histogram',
  'nodejs_eventloop_utilization_summary',
]
/** The last two take ten samples a second, whether or not they are shown: so rarely it costs nothing. In ms. */
const HOUR_MS = 3_600_000

let registry: Registry | undefined

/** What Prometheus is told of this process. There is one for all its servers: each would measure the event loop anew. */
export function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry()
    collectDefaultMetrics({ register: registry, eventLoopUtilizationTimeout: HOUR_MS })
    for (const name of MISNAMED) registry.removeSingleMetric(name)
  }
  return registry
}
