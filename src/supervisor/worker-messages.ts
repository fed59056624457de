import { z } from 'zod'
import { metricRowsSchema } from '../metrics/metric-rows.ts'

const question = z.enum(['life', 'readiness', 'metrics'])
/** What a supervisor asks a worker: a sign of life, whether it may be sent connections, and its metrics. */
export type Question = z.infer<typeof question>

/** From the supervisor to a worker, over the channel that Node.js opens to a forked process. */
export const toWorkerSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ask'), id: z.number(), question }),
  z.object({ type: z.literal('drain') }),
])
/** See {@link toWorkerSchema}. */
export type ToWorker = z.infer<typeof toWorkerSchema>

/** From a worker to its supervisor. The answers have the `id` of what was asked. */
export const fromWorkerSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('listening'), port: z.number() }),
  /** It cannot start, for a reason that an operator can mend. */
  z.object({ type: z.literal('failed'), message: z.string() }),
  z.object({ type: z.literal('life'), id: z.number() }),
  /** `problem` is why it may not be sent connections. */
  z.object({ type: z.literal('readiness'), id: z.number(), problem: z.string().optional() }),
  z.object({ type: z.literal('metrics'), id: z.number(), rows: metricRowsSchema }),
  /** Its last words: it has stopped, and this is what it counted. */
  z.object({ type: z.literal('farewell'), rows: metricRowsSchema }),
])
/** See {@link fromWorkerSchema}. */
export type FromWorker = z.infer<typeof fromWorkerSchema>
