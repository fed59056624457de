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
  /** What `/metrics` shows, in Prometheus' text format. */
  readonly metrics: () => Promise<string>
}

/** A listening admin port. */
export interface AdminServer {
  readonly port: number
  close(): Promise<void>
}

/** Prometheus' text format has a version of its own. */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** `/healthz` and `/readyz`: 200 `ok`, or 503 with the reason. `/metrics` for Prometheus. Rejects where the port is taken. */
export async function listenAdmin(options: AdminOptions): Promise<AdminServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, type = 'text/plain; charset=utf-8') => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
      response.end(request.method === 'HEAD' ? undefined : `${text.trimEnd()}\n`)
    }
    const fail = (error: unknown) => answer(503, error instanceof Error ? error.message : 'not ready')
    const tell = (problem: string | undefined) => answer(problem === undefined ? 200 : 503, problem ?? 'ok')
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'only GET is understood')
    const path = request.url?.split('?')[0]
    if (path === '/healthz') return tell(options.health())
    if (path === '/readyz') return void options.readiness().then(tell, fail)
    if (path === '/metrics') return void options.metrics().then((text) => answer(200, text, METRICS_TYPE), fail)
    answer(404, 'not found; there is /healthz, /readyz and /metrics')
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
