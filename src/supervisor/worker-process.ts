import { type ChildProcess, fork } from 'node:child_process'
import type { Logger } from 'pino'
import type { Clock } from '../actor/clock.ts'
import type { MetricRows } from '../metrics/metric-rows.ts'
import { type FromWorker, fromWorkerSchema, type Question, type ToWorker } from './worker-messages.ts'

/** How a process is started, and what it tells by itself. */
export interface WorkerProcessOptions {
  readonly file: string
  readonly env: NodeJS.ProcessEnv
  readonly clock: Clock
  readonly logger: Logger
  /** It accepts connections, on this port. */
  readonly onListening: (port: number) => void
  /** It has ended, and all that it said has been heard. The last call. */
  readonly onExit: (how: Exit) => void
}

/** How a process ended. */
export interface Exit {
  /** Its exit code, or the signal that ended it. */
  readonly cause: string
  /** Why it could not start, where an operator can mend it. */
  readonly problem: string | undefined
  /** What it told last of what it counted. */
  readonly rows: MetricRows
}

/** One process of a server, as its supervisor holds it. Every member is safe to call after its end. */
export interface WorkerProcess {
  /** Undefined where it could not even be made. */
  readonly pid: number | undefined
  /** What it told last of what it counts; empty after its end. */
  readonly rows: MetricRows
  /** Rejects when it does not answer within the deadline, or ends before. */
  isAlive(deadlineMs: number): Promise<void>
  /** Answers why it may not be sent connections, or undefined. Rejects as `isAlive` does. */
  readiness(deadlineMs: number): Promise<string | undefined>
  /** Brings `rows` up to date. Rejects as `isAlive` does. */
  count(deadlineMs: number): Promise<void>
  /** Asks it to drain and end. */
  drain(): void
  /** SIGKILL. */
  kill(): void
}

interface Asked {
  readonly answer: (message: FromWorker) => void
  readonly fail: (error: Error) => void
}

/** Starts a process of this server. It shares standard output and error with the supervisor, for its log. */
export function startProcess(options: WorkerProcessOptions): WorkerProcess {
  const { file, env, clock, logger, onListening, onExit } = options
  const child = fork(file, { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const asked = new Map<number, Asked>()
  let asks = 0
  let rows: MetricRows = []
  let problem: string | undefined

  child.on('message', (data) => {
    const { data: message } = fromWorkerSchema.safeParse(data)
    // A reload starts what is on the disk now.
    if (message === undefined)
      return logger.error('a worker is of a version that this supervisor does not know: restart the whole server')
    switch (message.type) {
      case 'listening':
        return onListening(message.port)
      case 'failed':
        problem = message.message
        return
      case 'farewell':
        rows = message.rows
        return
      default:
        asked.get(message.id)?.answer(message)
    }
  })
  void ended(child).then((cause) => {
    for (const { fail } of asked.values()) fail(new Error('the worker has ended'))
    const exit = { cause, problem, rows }
    rows = []
    onExit(exit)
  })

  function send(message: ToWorker): void {
    // One that has just ended cannot be sent anything; its end is told elsewhere.
    if (child.connected) child.send(message, () => {})
  }

  async function ask(question: Question, deadlineMs: number): Promise<FromWorker> {
    if (!child.connected) throw new Error('the worker has ended')
    const id = ++asks
    const { promise, resolve, reject } = Promise.withResolvers<FromWorker>()
    asked.set(id, { answer: resolve, fail: reject })
    const timer = clock.setTimeout(() => reject(new Error('the worker does not answer')), deadlineMs)
    send({ type: 'ask', id, question })
    try {
      return await promise
    } finally {
      clock.clearTimeout(timer)
      asked.delete(id)
    }
  }

  return {
    pid: child.pid,
    get rows() {
      return rows
    },
    async isAlive(deadlineMs) {
      await ask('life', deadlineMs)
    },
    async readiness(deadlineMs) {
      const answer = await ask('readiness', deadlineMs)
      return answer.type === 'readiness' ? answer.problem : undefined
    },
    async count(deadlineMs) {
      const answer = await ask('metrics', deadlineMs)
      if (answer.type === 'metrics') rows = answer.rows
    },
    drain: () => send({ type: 'drain' }),
    kill: () => void child.kill('SIGKILL'),
  }
}

/** Resolves with how it ended, when there is nothing more to be read from it. */
function ended(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    let cause: string | undefined
    const tell = () => cause !== undefined && !child.connected && resolve(cause)
    child.on('exit', (code, signal) => {
      cause = signal ?? `exit code ${code}`
      tell()
    })
    child.on('disconnect', tell)
    child.on('error', (error) => {
      // One that could not be made has no other end; what else is told here shows in its answers, or in their lack.
      if (child.pid === undefined) resolve(error.message)
    })
  })
}
