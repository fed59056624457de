import type { Logger } from 'pino'
import { createTimerWheel } from '../actor/timer-wheel.ts'
import type { Config } from '../config.ts'
import { createSummedMetrics } from '../metrics/summed-metrics.ts'
import { type AdminServer, listenAdmin, type Report } from '../transport/admin-server.ts'
import { claimPort } from '../transport/bind.ts'
import { letConnectionsMigrate } from './tcp-migration.ts'
import { createWorkers, type Worker } from './worker.ts'

/** How long a worker may take to tell what it counted, in ms: all are waited for. */
const COUNT_DEADLINE_MS = 1_000
/** How long it may take to say that it is not ready, in ms: its log gets a second to answer. The first ready one will do. */
const READINESS_DEADLINE_MS = 3_000
/** The states of a worker that had listened, and serves nobody now. */
const DOWN = ['frozen', 'waiting', 'restarting']
/** What a draining worker may take beyond DRAIN_MS and CLOSE_DEADLINE_MS, in ms: to write what it interrupted, and to end. */
const DRAIN_SPARE_MS = 10_000

/** A server of several processes on one port. It does nothing until it is started, and can be started once. */
export interface Supervisor {
  /** Resolves when every worker listens. Rejects with what is in the way, in one sentence, when none is left. */
  start(): Promise<void>
  /** Replaces worker by worker: the new one listens before the old one drains. During the start it waits for its end. */
  reload(): void
  /** Drains all workers. Resolves when they have ended; a second call waits for the first. */
  stop(): Promise<void>
  /** Kills all workers. */
  abort(): void
}

/** Makes the supervisor of `config.WORKERS` processes that run `workerFile`. It serves no client itself. */
export function createSupervisor(config: Config, logger: Logger, workerFile: string): Supervisor {
  const clock = createTimerWheel((error) => logger.error({ err: error }, 'a timer failed'))
  /** Every worker that has not ended: in a reload, one more than there are places. */
  const workers = new Set<Worker>()
  /** The worker of each place. */
  const places: Worker[] = []
  let restarts = 0
  let admin: AdminServer | undefined
  let port = 0
  let stopped: Promise<void> | undefined
  let hasStarted = false
  let isReloading = false
  let isReloadWanted = false

  const sums = createSummedMetrics({ workers: countByState, restarts: () => restarts })
  const startWorker = createWorkers({
    file: workerFile,
    clock,
    logger,
    drainDeadlineMs: config.DRAIN_MS + config.CLOSE_DEADLINE_MS + DRAIN_SPARE_MS,
    onExit: sums.keep,
    onDeath: () => restarts++,
  })

  /** `MAX_CONNECTIONS` is the whole server's: each place has its share. */
  function begin(place: number): Worker {
    if (stopped !== undefined) throw new Error('cannot go on: stopped while starting')
    const { MAX_CONNECTIONS: all, WORKERS: of } = config
    const share = all === undefined ? '' : String(Math.floor(all / of) + (place < all % of ? 1 : 0))
    const worker = startWorker({ ...process.env, WORKERS: '1', PORT: String(port), MAX_CONNECTIONS: share })
    workers.add(worker)
    void worker.whenEnded.then(() => workers.delete(worker))
    return worker
  }

  function countByState(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { actor } of workers) {
      const value = actor.value()
      const state = typeof value === 'string' ? value : (Object.keys(value)[0] ?? '')
      counts.set(state, (counts.get(state) ?? 0) + 1)
    }
    return counts
  }

  const listening = () => [...workers].filter(({ actor }) => actor.matches('listening'))

  /** The whole is well while one worker serves, or is about to for the first time. */
  function health(): Report {
    const well = listening().filter(({ actor }) => !actor.matches('listening.heartbeat.askedAgain')).length
    const isDown = ({ actor }: Worker) => DOWN.some((state) => actor.matches(state))
    const ok = ![...workers].every(isDown)
    return { ok, text: `${ok ? 'ok: ' : ''}${well} of ${config.WORKERS} workers are well` }
  }

  async function readiness(): Promise<string | undefined> {
    if (stopped !== undefined) return 'draining'
    const asked = listening().map(async ({ process }) => {
      const problem = await process.readiness(READINESS_DEADLINE_MS)
      if (problem !== undefined) throw new Error(problem)
    })
    try {
      // One that is frozen is not waited for while another is ready.
      await Promise.any(asked)
      return undefined
    } catch (error) {
      const reasons = error instanceof AggregateError ? error.errors.map(({ message }) => String(message)) : []
      return `no worker is ready: ${[...new Set(reasons)].join('; ') || 'none listens'}`
    }
  }

  async function showMetrics(): Promise<string> {
    // One that does not answer is shown as it was last.
    await Promise.allSettled([...workers].map(({ process }) => process.count(COUNT_DEADLINE_MS)))
    return sums.text(() => [...workers].map(({ process }) => process.rows))
  }

  async function reloadAll(): Promise<void> {
    for (const [place, old] of places.entries()) {
      const next = begin(place)
      await next.whenListening
      places[place] = next
      old.actor.send({ type: 'worker.stop' })
      await old.whenEnded
    }
  }

  /**
   * Asked for in mid-reload or in mid-start, it is done once more, however often it was asked for: workers that are new
   * already may run the code from before.
   */
  async function reloadWhileWanted(): Promise<void> {
    if (!hasStarted || isReloading) return
    isReloading = true
    try {
      while (isReloadWanted && stopped === undefined) {
        isReloadWanted = false
        logger.info('reloading')
        await reloadAll()
        logger.info('reloaded')
      }
    } catch (error) {
      if (stopped === undefined) logger.error({ err: error }, 'the reload was given up; the other workers stay')
    }
    isReloading = false
  }

  async function startAll(): Promise<void> {
    const all = Array.from({ length: config.WORKERS }, (_, place) => begin(place))
    places.push(...all)
    await Promise.all(all.map(({ whenListening }) => whenListening))
  }

  async function endAll(): Promise<void> {
    const ended = [...workers].map(({ whenEnded }) => whenEnded)
    for (const { actor } of workers) actor.send({ type: 'worker.stop' })
    await Promise.all(ended)
    await admin?.close()
  }

  async function stopAll(): Promise<void> {
    logger.info({ workers: workers.size }, 'draining')
    await endAll()
    logger.info('stopped')
  }

  return {
    async start() {
      const claimed = await claimPort(config)
      port = claimed.port
      try {
        admin = await listenAdmin({ config, health, readiness, metrics: { text: showMetrics } })
        await startAll()
      } catch (error) {
        // In silence: why it fails is told once, by whoever started it.
        stopped ??= endAll()
        await stopped
        throw error
      } finally {
        await claimed.release()
      }
      letConnectionsMigrate(logger)
      const address = `http://${config.HOST}:${port}`
      const adminAddress = `http://${config.ADMIN_HOST}:${admin?.port}`
      logger.info({ address, admin: adminAddress, workers: config.WORKERS }, 'listening')
      hasStarted = true
      void reloadWhileWanted()
    },
    reload() {
      if (!hasStarted) logger.info('the reload waits until all workers listen')
      isReloadWanted = true
      void reloadWhileWanted()
    },
    stop() {
      stopped ??= stopAll()
      return stopped
    },
    abort() {
      for (const { process } of workers) process.kill()
    },
  }
}
