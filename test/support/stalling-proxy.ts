import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { RedisProcess } from './redis.ts'

/** A TCP proxy in front of a redis-server that can stall as a network does: what was sent arrives late. */
export interface StallingProxy {
  readonly port: number
  readonly url: string
  /** From now on, what is sent over the connections that there are is kept; new ones are as ever. */
  stall(): void
  /** What was kept arrives, although whoever sent it may have gone; resolves when Redis has closed what had been closed. */
  arrive(): Promise<void>
  close(): void
}

interface Line {
  readonly client: Socket
  readonly server: Socket
  /** What is kept; undefined where nothing is. */
  kept: Buffer[] | undefined
  hasEnded: boolean
}

/** Starts one on a free port. */
export async function startStallingProxy(redis: RedisProcess): Promise<StallingProxy> {
  const lines = new Set<Line>()
  const listener = createServer((client) => {
    const server = connect(redis.port, '127.0.0.1')
    const line: Line = { client, server, kept: undefined, hasEnded: false }
    lines.add(line)
    for (const socket of [client, server]) {
      socket.setNoDelay(true)
      // `close` follows.
      socket.on('error', () => {})
    }
    client.on('data', (data) => {
      if (line.kept === undefined) server.write(data)
      else line.kept.push(data)
    })
    server.on('data', (data) => client.write(data))
    client.on('close', () => {
      line.hasEnded = true
      if (line.kept === undefined) server.destroy()
    })
    server.on('close', () => {
      lines.delete(line)
      client.destroy()
    })
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    stall() {
      for (const line of lines) line.kept ??= []
    },
    async arrive() {
      const ended: Promise<unknown>[] = []
      for (const line of lines) {
        const { kept, server } = line
        line.kept = undefined
        for (const data of kept ?? []) server.write(data)
        if (!line.hasEnded) continue
        ended.push(once(server, 'close'))
        server.end()
      }
      await Promise.all(ended)
    },
    close() {
      listener.close()
      for (const { client, server } of lines) {
        client.destroy()
        server.destroy()
      }
    },
  }
}
