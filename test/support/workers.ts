import { readFileSync } from 'node:fs'
import { onTestFinished } from 'vitest'
import { type RedisProcess, startRedis, until } from './redis.ts'
import { type Env, type ServerProcess, spawnServer } from './server.ts'

/** A server of several processes, with a Redis of its own. */
export interface WorkersServer extends ServerProcess {
  readonly redis: RedisProcess
  /** The processes of its workers, as the system knows them. */
  pids(): number[]
  /** What an admin path answers: status and text. */
  admin(path: string): Promise<[number, string]>
  /** The server's own numbers, from `/metrics`. */
  metrics(): Promise<Record<string, number>>
}

/** Starts `src/main.ts` with WORKERS, and waits until all of them listen. None outlives the test. */
export async function spawnWorkers(env: Env): Promise<WorkersServer> {
  const redis = await startRedis()
  onTestFinished(redis.close)
  const server = await spawnServer({ REDIS_URL: redis.url, ...env })
  const admin = async (path: string): Promise<[number, string]> => {
    const response = await fetch(`${server.adminUrl}${path}`)
    return [response.status, await response.text()]
  }
  const everyWorker = new Set<number>()
  const pids = () => {
    const found = childrenOf(server.process.pid)
    for (const pid of found) everyWorker.add(pid)
    return found
  }
  pids()
  onTestFinished(async () => {
    for (const pid of everyWorker) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    await until(() => ![...everyWorker].some(isAlive))
  })
  return {
    ...server,
    redis,
    pids,
    admin,
    async metrics() {
      const [, text] = await admin('/metrics')
      const rows = [...text.matchAll(/^statewire_(.+) (\S+)$/gm)]
      return Object.fromEntries(rows.map(([, name, value]) => [name, Number(value)]))
    },
  }
}

/** Whether a process is there and no zombie. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    // Gone is an answer here.
    return false
  }
}

function childrenOf(pid: number | undefined): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return list.split(' ').filter(Boolean).map(Number)
}
