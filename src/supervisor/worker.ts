import type { Logger } from 'pino'
import { type WorkerEvent, workerMachine } from '../../machines/worker.machine.ts'
import type { Actor } from '../actor/actor-host.ts'
import type { Clock } from '../actor/clock.ts'
import { createInterpretedHost } from '../actor/interpreted-host.ts'
import type { MetricRows } from '../metrics/metric-rows.ts'
import { StartError } from '../told.ts'
import { type Exit, startProcess, type WorkerProcess } from './worker-process.ts'

/** How often a worker is asked for a sign of life, in ms. */
const PING_INTERVAL_MS = 1_000
/** How long it may take to give one; after twice that it is killed. In ms. */
const ANSWER_DEADLINE_MS = 2_000
/** How long a process may take to listen, in ms: its stores have deadlines of their own. */
const START_DEADLINE_MS = 60_000
/** How long a process must have been well for its next death to be the first again, in ms. */
const PROOF_MS = 30_000
/** Before the first restart, in ms; it doubles with each death in a row. */
const BACK_OFF_MS = 100
const MAX_BACK_OFF_MS = 30_000

/** What all workers of a server have in common. */
export interface WorkersOptions {
  /** The file that a worker runs. */
  readonly file: string
  readonly clock: Clock
  readonly logger: Logger
  /** How long a draining process may take before it is killed, in ms. */
  readonly drainDeadlineMs: number
  /** A process has ended, and this is what it counted. */
  readonly onExit: (rows: MetricRows) => void
  /** A worker died, and is to be started again. */
  readonly onDeath: () => void
}

/** A worker: one process after the other, until it is told to stop. */
export interface Worker {
  readonly actor: Actor<WorkerEvent>
  /** The process that it has now, or had last. */
  readonly process: WorkerProcess
  /** Resolves with the port when its first process listens; rejects with {@link StartError} if that never happens. */
  readonly whenListening: Promise<number>
  readonly whenEnded: Promise<void>
}

/** What the chart's actions know of a worker. */
interface Subject {
  actor: Actor<WorkerEvent> | undefined
  process: WorkerProcess | undefined
  readonly env: NodeJS.ProcessEnv
  /** Deaths in a row. */
  failures: number
  port: number
  exit: Exit | undefined
  readonly listening: PromiseWithResolvers<number>
  readonly ended: PromiseWithResolvers<void>
}

/** Answers what starts a worker with an environment: the chart says what becomes of its processes. */
export function createWorkers(options: WorkersOptions): (env: NodeJS.ProcessEnv) => Worker {
  const { file, clock, logger, drainDeadlineMs, onExit, onDeath } = options
  const host = createInterpretedHost<typeof workerMachine, Subject, WorkerEvent>(
    workerMachine,
    {
      guards: {},
      delays: {
        startDeadline: () => START_DEADLINE_MS,
        pingInterval: () => PING_INTERVAL_MS,
        answerDeadline: () => ANSWER_DEADLINE_MS,
        proof: () => PROOF_MS,
        backOff: ({ failures }) => Math.min(MAX_BACK_OFF_MS, BACK_OFF_MS * 2 ** (failures - 1)),
        drainDeadline: () => drainDeadlineMs,
      },
      actions: {
        spawn(subject) {
          const process = startProcess({
            file,
            clock,
            logger,
            env: subject.env,
            onListening(port) {
              subject.port = port
              subject.actor?.send({ type: 'worker.listening' })
            },
            onExit(exit) {
              subject.exit = exit
              const isExpected = subject.actor?.matches('draining') === true
              const { cause, problem, rows } = exit
              // Of one that never listened, whoever started it is told.
              if (subject.port !== 0)
                logger[isExpected ? 'info' : 'warn']({ worker: process.pid, cause, problem }, 'a worker has ended')
              onExit(rows)
              subject.actor?.send({ type: 'worker.exited' })
            },
          })
          subject.process = process
        },
        tellListening({ process, port, listening }) {
          logger.info({ worker: process?.pid }, 'a worker listens')
          listening.resolve(port)
        },
        ping({ process, actor }) {
          process?.isAlive(ANSWER_DEADLINE_MS).then(
            () => actor?.send({ type: 'worker.answered' }),
            // No answer is what the chart waits for, too.
            () => {},
          )
        },
        kill({ process }) {
          logger.error(
            { worker: process?.pid },
            'a worker takes too long to start, to answer or to drain, and is killed',
          )
          process?.kill()
        },
        askToDrain: ({ process }) => process?.drain(),
        countFailure(subject) {
          subject.failures++
          onDeath()
        },
        forgetFailures(subject) {
          subject.failures = 0
        },
        tellEnded({ exit, listening, ended }) {
          const why = exit?.problem ?? `cannot go on: a worker ended before it listened (${exit?.cause ?? 'stopped'})`
          listening.reject(new StartError(why))
          ended.resolve()
        },
      },
    },
    clock,
    { onError: (_, error) => logger.fatal({ err: error }, 'a worker was lost by a fault of its supervisor') },
  )
  return (env) => {
    const listening = Promise.withResolvers<number>()
    const ended = Promise.withResolvers<void>()
    // Whoever starts a worker awaits it, but perhaps another one first.
    listening.promise.catch(() => {})
    const subject: Subject = {
      actor: undefined,
      process: undefined,
      env,
      failures: 0,
      port: 0,
      exit: undefined,
      listening,
      ended,
    }
    const actor = host.create(subject)
    subject.actor = actor
    return {
      actor,
      get process() {
        // The chart has started one when it is made.
        return subject.process as WorkerProcess
      },
      whenListening: listening.promise,
      whenEnded: ended.promise,
    }
  }
}
