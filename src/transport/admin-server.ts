import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What the admin port tells. */
export interface AdminOptions {
  readonly host: string
  readonly port: number
  /** Whether the process is well: undefined, or what is wrong. */
  readonly health: () => string | undefined
  /** Whether it may be sent new connections: undefined, or why not. Asked on every request. */
  readonly readiness: () => Promise<string | undefined>
}

/** A listening admin port. */
export interface AdminServer {
  readonly port: number
  close(): Promise<void>
}

/** `/healthz` and `/readyz`: 200 `ok`, or 503 with the reason. Rejects where the port is taken. */
export async function listenAdmin(options: AdminOptions): Promise<AdminServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string) => {
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' })
      response.end(request.method === 'HEAD' ? undefined : `${text}\n`)
    }
    const tell = (problem: string | undefined) => answer(problem === undefined ? 200 : 503, problem ?? 'ok')
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'only GET is understood')
    const path = request.url?.split('?')[0]
    if (path === '/healthz') return tell(options.health())
    if (path !== '/readyz') return answer(404, 'not found; there is /healthz and /readyz')
    options.readiness().then(tell, (error: unknown) => tell(error instanceof Error ? error.message : 'not ready'))
  })
  await bind(server, options)
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

function bind(server: Server, { host, port }: AdminOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        new Error(`cannot listen on ${host}:${port} (ADMIN_HOST, ADMIN_PORT): ${error.code ?? error.message}`, {
          cause: error,
        }),
      )
    })
    server.listen(port, host, resolve)
  })
}
