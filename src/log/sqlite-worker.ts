import { parentPort, workerData } from 'node:worker_threads'
import { z } from 'zod'
import { LogError } from './channel-log.ts'
import type { StoreRequest } from './sqlite-requests.ts'
import { openStore } from './sqlite-store.ts'

/** The thread that owns the database: says whether it could open it, then does the batches that it is sent. */
function main(): void {
  const port = parentPort
  if (port === null) throw new Error('this file is the start of a worker thread')
  const { dataDir } = z.object({ dataDir: z.string() }).parse(workerData)
  const store = tryToOpen(dataDir)
  if (typeof store === 'string') {
    port.postMessage({ opened: false, message: store })
    return
  }
  port.on('message', (batch: readonly StoreRequest[] | 'close') => {
    if (batch !== 'close') {
      port.postMessage(store.run(batch))
      return
    }
    store.close()
    port.close()
  })
  port.postMessage({ opened: true })
}

function tryToOpen(dataDir: string): ReturnType<typeof openStore> | string {
  try {
    return openStore(dataDir)
  } catch (error) {
    if (error instanceof LogError) return error.message
    throw error
  }
}

main()
