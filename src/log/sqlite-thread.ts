import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { LogError } from './channel-log.ts'
import type { BatchReply, StoreRequest } from './sqlite-requests.ts'

/** The main thread's end of the thread that owns the database. One batch at a time. */
export interface StoreThread {
  /** Rejects with {@link LogError} `failed` when the thread has died; what became of the batch is then unknown. */
  run(batch: readonly StoreRequest[]): Promise<BatchReply>
  /** Lets go of the file, then ends the thread. */
  close(): Promise<void>
}

type Opened = { readonly opened: true } | { readonly opened: false; readonly message: string }

interface Waiting<T> {
  resolve(value: T): void
  reject(error: LogError): void
}

/** Runs from source and from `dist` alike: the neighbour has the same ending as this file. */
const WORKER = new URL(`./sqlite-worker${extname(import.meta.url)}`, import.meta.url)
/** In place of the process's own flags, which may preload what only the main thread needs. */
const EXEC_ARGV = ['--disable-warning=ExperimentalWarning']

/** Starts the thread; rejects with its sentence where it cannot open the database. `onDeath` is called if it dies later. */
export async function startThread(dataDir: string, onDeath: () => void): Promise<StoreThread> {
  const worker = new Worker(WORKER, { workerData: { dataDir }, execArgv: EXEC_ARGV, name: 'statewire-log' })
  let cause: unknown
  let closing = false
  let waiting: Waiting<BatchReply> | undefined
  worker.on('error', (error) => {
    cause = error
  })
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', () => resolve())
  })

  const opened = await new Promise<Opened>((resolve) => {
    worker.once('message', resolve)
    void ended.then(() => resolve({ opened: false, message: died(cause).message }))
  })
  if (!opened.opened) {
    await worker.terminate()
    throw new LogError('failed', opened.message, { cause })
  }

  worker.on('message', (reply: BatchReply) => {
    waiting?.resolve(reply)
    waiting = undefined
  })
  void ended.then(() => {
    waiting?.reject(died(cause))
    waiting = undefined
    if (!closing) onDeath()
  })

  return {
    run(batch) {
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        worker.postMessage(batch)
      })
    },
    async close() {
      closing = true
      worker.postMessage('close')
      await ended
    },
  }
}

function died(cause: unknown): LogError {
  const reason = cause instanceof Error ? `: ${cause.message}` : ''
  return new LogError('failed', `the thread that writes the log has died${reason}`, { cause })
}
