import { LogError } from './channel-log.ts'
import type { StoreAnswer, StoreOp, StoreRequest, StoreRequestOf, StoreResults } from './sqlite-requests.ts'
import { type StoreThread, startThread } from './sqlite-thread.ts'

/** The most requests of one transaction, so that a flood does not make the first of them wait for the last. */
const BATCH_REQUESTS = 2_000
/** The most reads of one batch: they are slower than appends, and nothing is written while they go on. */
const BATCH_READS = 64

/** What was done since the log was opened. */
export interface SqliteStatistics {
  /** Batches that wrote and were committed. */
  readonly commits: number
  readonly threadsStarted: number
}

/** Requests on their way to the database: one after the other as they were asked, many to a transaction. */
export interface StoreQueue {
  /**
   * Asks for one thing. `settled` is called when its batch is safe, in the order of the requests, before the promise of any
   * of them settles.
   */
  ask<O extends StoreOp>(
    request: StoreRequestOf<O>,
    settled?: (value: StoreResults[O]) => void,
  ): Promise<StoreResults[O]>
  statistics(): SqliteStatistics
  /** Finishes what was asked, and lets go of the file. What is asked afterwards is `closed`. */
  close(): Promise<void>
}

interface Asked {
  readonly request: StoreRequest
  settle(answer: StoreAnswer): void
}

const APPENDING: ReadonlySet<StoreOp> = new Set(['append', 'fold', 'expirable', 'forget', 'sweep', 'check'])

/**
 * Starts the database's thread. All that is asked within one turn of the event loop, and all that is asked while a commit
 * is under way, makes one batch. `onUncertain` gets the keys of the appends of a batch whose thread died, once another
 * thread has opened the database: they may have been written or not.
 */
export async function openStoreQueue(
  dataDir: string,
  onUncertain: (keys: ReadonlySet<string>) => void,
): Promise<StoreQueue> {
  let queue: Asked[] = []
  let state: 'idle' | 'scheduled' | 'busy' = 'idle'
  let closing: Promise<void> | undefined
  let whenIdle: (() => void) | undefined
  let commits = 0
  let threadsStarted = 0
  let died = false
  const uncertain = new Set<string>()
  let thread: StoreThread | undefined
  thread = await start()

  async function start(): Promise<StoreThread> {
    const started = await startThread(dataDir, () => {
      thread = undefined
      died = true
      // Not left until somebody asks: whoever follows a channel must hear what became of it.
      schedule()
    })
    threadsStarted += 1
    return started
  }

  /** A setImmediate is after all that the sockets brought in this turn of the loop. */
  function schedule(): void {
    if (state !== 'idle') return
    state = 'scheduled'
    setImmediate(() => {
      state = 'busy'
      void runBatch().then(() => {
        state = 'idle'
        if (queue.length > 0 || died) schedule()
        else whenIdle?.()
      })
    })
  }

  async function runBatch(): Promise<void> {
    const batch = takeBatch()
    died = false
    try {
      thread ??= await reopen()
      if (batch.length === 0) return
      const reply = await thread.run(batch.map(({ request }) => request))
      if (!reply.ok) throw new LogError('failed', reply.message)
      if (batch.some(({ request }) => APPENDING.has(request.op))) commits += 1
      for (const [index, asked] of batch.entries()) asked.settle(reply.answers[index] ?? UNANSWERED)
    } catch (error) {
      if (thread === undefined) noteUncertain(batch)
      const answer = { ok: false, code: 'failed', message: messageOf(error) } as const
      for (const asked of batch) asked.settle(answer)
    }
  }

  async function reopen(): Promise<StoreThread> {
    const reopened = await start()
    const keys = new Set(uncertain)
    uncertain.clear()
    if (keys.size > 0) onUncertain(keys)
    return reopened
  }

  function noteUncertain(batch: readonly Asked[]): void {
    for (const { request } of batch) if (request.op === 'append') uncertain.add(request.key)
  }

  function takeBatch(): Asked[] {
    let reads = 0
    const tooMany = queue.findIndex(({ request }, index) => {
      if (request.op === 'read') reads += 1
      return index >= BATCH_REQUESTS || reads > BATCH_READS
    })
    const batch = tooMany < 0 ? queue : queue.slice(0, tooMany)
    queue = tooMany < 0 ? [] : queue.slice(tooMany)
    return batch
  }

  return {
    ask(request, settled) {
      return new Promise((resolve, reject) => {
        if (closing !== undefined) {
          reject(new LogError('closed', 'the log is closed'))
          return
        }
        queue.push({
          request,
          settle(answer) {
            if (!answer.ok) {
              reject(new LogError(answer.code, answer.message))
              return
            }
            // The thread answers each request with the result of its own operation.
            const value = answer.value as StoreResults[typeof request.op]
            settled?.(value)
            resolve(value)
          },
        })
        schedule()
      })
    },
    statistics: () => ({ commits, threadsStarted }),
    close() {
      closing ??= (async () => {
        if (state !== 'idle') await new Promise<void>((resolve) => (whenIdle = resolve))
        await thread?.close()
      })()
      return closing
    },
  }
}

const UNANSWERED: StoreAnswer = { ok: false, code: 'failed', message: 'the thread that writes the log gave no answer' }

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
