import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** A TCP proxy in front of a server of the test's own, which can do what networks do. */
export interface Proxy {
  /** `ws://127.0.0.1:<port>`. */
  readonly url: string
  /** How many connections it has accepted so far. */
  readonly accepted: number
  /** Resets every connection that is open now. */
  cutAll(): void
  /** Takes nothing more from the server, so that its sockets fill up; `thaw` goes on. */
  freeze(): void
  thaw(): void
}

/** Starts one in front of `ws://127.0.0.1:<port>`; ended when the test has finished. */
export async function startProxy(target: string): Promise<Proxy> {
  const port = Number(new URL(target).port)
  let isFrozen = false
  let accepted = 0
  const pairs = new Set<{ client: Socket; server: Socket }>()

  const listener = createServer((client) => {
    accepted++
    const server = connect(port, '127.0.0.1')
    const pair = { client, server }
    pairs.add(pair)
    client.setNoDelay(true)
    server.setNoDelay(true)
    const end = () => {
      pairs.delete(pair)
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) {
      // A connection that breaks is what this is for; `close` follows.
      socket.on('error', () => {})
      socket.on('close', end)
    }
    client.pipe(server)
    server.pipe(client)
    if (isFrozen) hold(server, client)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')

  const cutAll = () => {
    for (const { client, server } of pairs) {
      client.resetAndDestroy()
      server.resetAndDestroy()
    }
  }
  onTestFinished(() => {
    cutAll()
    listener.close()
  })

  return {
    url: `ws://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    get accepted() {
      return accepted
    },
    cutAll,
    freeze() {
      isFrozen = true
      for (const { client, server } of pairs) hold(server, client)
    },
    thaw() {
      isFrozen = false
      for (const { client, server } of pairs) server.pipe(client)
    },
  }
}

function hold(server: Socket, client: Socket): void {
  server.unpipe(client)
  server.pause()
}
