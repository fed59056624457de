/**
 * What a supervisor starts: one process of a server of several. It takes its orders from the supervisor, over the
 * channel between them, and drains when that is lost, so that no orphan keeps the port.
 */
import { loadConfig } from './config.ts'
import { createLogger } from './logger.ts'
import { createServer } from './server.ts'
import { type FromWorker, toWorkerSchema } from './supervisor/worker-messages.ts'
import { tellFailure, toldSentence } from './told.ts'

async function runWorker(): Promise<void> {
  const config = loadConfig(process.env)
  const logger = createLogger(config.LOG_LEVEL, 'hostname')
  const server = createServer(config, { logger }, 'worker')

  function stop(): void {
    server.stop().then(
      async () => {
        await send({ type: 'farewell', rows: await server.metrics.rows() })
        process.exit(0)
      },
      (error: unknown) => {
        logger.fatal({ err: error }, 'the stop failed')
        process.exit(1)
      },
    )
  }

  process.on('message', (data) => {
    const { data: message } = toWorkerSchema.safeParse(data)
    // A reload starts what is on the disk now, under the supervisor from before.
    if (message === undefined)
      return logger.warn('the supervisor is of a version that this worker does not know: restart the whole server')
    if (message.type === 'drain') return stop()
    answer(message).catch((error: unknown) => logger.error({ err: error }, 'the supervisor could not be answered'))
  })
  process.on('disconnect', stop)
  process.on('SIGTERM', stop)
  // A terminal sends these to all processes; what they mean is the supervisor's to say.
  process.on('SIGINT', () => {})
  process.on('SIGHUP', () => {})

  async function answer({ id, question }: { id: number; question: FromWorker['type'] }): Promise<void> {
    if (question === 'life') return send({ type: 'life', id })
    if (question === 'metrics') return send({ type: 'metrics', id, rows: await server.metrics.rows() })
    return send({ type: 'readiness', id, problem: await server.readiness() })
  }

  await server.start()
  await send({ type: 'listening', port: server.port })
}

/** Resolves when it is on its way; also where there is nobody any more to hear it. */
function send(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected) process.send?.(message, undefined, undefined, () => resolve())
    else resolve()
  })
}

runWorker().catch(async (error: unknown) => {
  const message = toldSentence(error)
  if (message === undefined || !process.connected) tellFailure(error)
  else await send({ type: 'failed', message })
  process.exit(1)
})
