import { z } from 'zod'

/** The metrics of one process as the library for Prometheus gives them to be added up in another: what it reads of them. */
export const metricRowsSchema = z.array(
  z.object({
    name: z.string(),
    help: z.string(),
    type: z.enum(['counter', 'gauge', 'histogram', 'summary']),
    aggregator: z.string().optional(),
    values: z.array(
      z.object({
        // NaN and the infinities are no numbers of JSON.
        value: z.number().nullable(),
        labels: z.record(z.string(), z.union([z.string(), z.number()])),
        metricName: z.string().optional(),
      }),
    ),
  }),
)
/** See {@link metricRowsSchema}. */
export type MetricRows = z.infer<typeof metricRowsSchema>
