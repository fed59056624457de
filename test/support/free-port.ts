import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Ports from which the kernel takes none for outgoing connections (on Linux those begin at 32768): one of those might be
 * taken between its choice and its use. A Redis Cluster's bus listens 10,000 above its node, and stays below them, too.
 */
const LOWEST = 10_240
const COUNT = 12_000
/** At most so many processes run test files at once. Each has ports of its own: a server may return to its port. */
const PROCESSES = 4
const PROCESS = Number(process.env.VITEST_POOL_ID ?? 0) % PROCESSES
const BUS_OFFSET = 10_000

const given = new Set<number>()

/** A port for a server that cannot be given PORT=0, because it returns to its port or must know it before. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + PROCESSES * Math.floor((Math.random() * COUNT) / PROCESSES) + PROCESS
    if (given.has(port)) continue
    given.add(port)
    if ((await isFree(port)) && (await isFree(port + BUS_OFFSET))) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  server.listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    // Taken is an answer here.
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}
