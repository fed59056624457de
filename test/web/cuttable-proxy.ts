import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A way to a server that a test can cut, as networks do: without a word to either side. */
export interface CuttableProxy {
  readonly port: number
  /** Cuts everything that goes through it now. What comes later is let through, unless it is `closed`. */
  cut(): void
  /** While true, nothing gets through. */
  setClosed(closed: boolean): void
  close(): Promise<void>
}

/** Listens on a free port of 127.0.0.1 and passes everything on to `target`. */
export async function startCuttableProxy(target: number): Promise<CuttableProxy> {
  const sockets = new Set<Socket>()
  let closed = false
  const server = createServer((near) => {
    if (closed) {
      near.resetAndDestroy()
      return
    }
    const far = connect(target, '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.pipe(to)
      // A reset is the very thing that this is for.
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port')
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  return {
    port: address.port,
    cut,
    setClosed(next) {
      closed = next
    },
    async close() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
