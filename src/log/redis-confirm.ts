import { type RedisClient, serverOf } from './redis-clients.ts'
import { isUnknownScript, pipeScript, type RedisScript, type ScriptArguments } from './redis-script.ts'

/** Runs scripts that write, and answers when enough replicas have what they wrote. */
export interface Confirmed {
  run(script: RedisScript, keys: readonly string[], args: ScriptArguments, notAfter?: number): Promise<unknown>
}

interface Asked {
  readonly script: RedisScript
  readonly keys: readonly string[]
  readonly args: ScriptArguments
  readonly notAfter: number
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** What waits for one server, and the scripts that it is believed to know. */
interface Lane {
  waiting: Asked[]
  isBusy: boolean
  readonly known: Set<string>
}

/** The most scripts of one batch, so that a flood does not make the first of them wait for the last. */
const BATCH = 500

/**
 * WAIT holds up its connection, and confirms all that was written over it: so what is asked while one is under way goes
 * together, with one WAIT of at most `waitMs` at its end. `client` is used for nothing else.
 */
export function createConfirmed(client: RedisClient, replicas: number, waitMs: number): Confirmed {
  const lanes = new Map<string, Lane>()

  async function runBatch(lane: Lane, batch: readonly Asked[]): Promise<void> {
    const pipeline = client.pipeline()
    for (const { script, keys, args, notAfter } of batch)
      pipeScript(pipeline, script, keys, args, { isKnown: lane.known.has(script.sha), notAfter })
    // (On a Cluster, only in a pipeline does it go to the server that did the writing.)
    pipeline.call('WAIT', replicas, waitMs)
    const replies = (await pipeline.exec()) ?? []
    const [waitError, confirmations] = replies[batch.length] ?? [new Error('no answer'), undefined]
    for (const [index, asked] of batch.entries()) {
      const [error, value] = replies[index] ?? [new Error('no answer'), undefined]
      if (isUnknownScript(error)) lane.known.delete(asked.script.sha)
      else if (error === null) lane.known.add(asked.script.sha)
      const failed = error ?? waitError
      if (failed) asked.reject(failed)
      else if (typeof confirmations !== 'number' || confirmations < replicas) asked.reject(unconfirmed(replicas))
      else asked.resolve(value)
    }
  }

  async function drain(server: string, lane: Lane): Promise<void> {
    lane.isBusy = true
    while (lane.waiting.length > 0) {
      const batch = lane.waiting.slice(0, BATCH)
      lane.waiting = lane.waiting.slice(BATCH)
      try {
        await runBatch(lane, batch)
      } catch (error) {
        for (const asked of batch) asked.reject(error)
      }
    }
    lane.isBusy = false
    // Servers of a Cluster come and go.
    if (lane.known.size === 0) lanes.delete(server)
  }

  return {
    run(script, keys, args, notAfter = 0) {
      return new Promise((resolve, reject) => {
        const server = serverOf(client, keys[0] ?? '')
        const lane = lanes.get(server) ?? { waiting: [], isBusy: false, known: new Set() }
        lanes.set(server, lane)
        lane.waiting.push({ script, keys, args, notAfter, resolve, reject })
        if (!lane.isBusy) void drain(server, lane)
      })
    },
  }
}

/** To be tried again: the replica may have been on its way back. */
function unconfirmed(replicas: number): Error {
  return new Error(`fewer than ${replicas} replicas have confirmed it`)
}
