import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Config } from '../config.ts'
import { bind } from './bind.ts'

/** An answer to probes and people: 200 or 503, with a line of text. */
export interface Report {
  readonly ok: boolean
  readonly text: string
}

/** What the admin port tells. */
export interface AdminOptions {
  readonly config: Pick<Config, 'ADMIN_HOST' | 'ADMIN_PORT'>
  /** Whether the process is well. */
  readonly health: () => Report
  /** Whether it may be sent new connections: undefined, or why not. Asked on every request. */
  readonly readiness: () => Promise<string | undefined>
  /** What `/metrics` shows, in Prometheus' text format. */
  readonly metrics: { text(): Promise<string> }
}

/** A listening admin port. */
export interface AdminServer {
  readonly port: number
  close(): Promise<void>
}

/** Prometheus' text format has a version of its own. */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** `/healthz` and `/readyz`: 200 `ok`, or 503 with the reason. `/metrics` for Prometheus. Rejects where the port is taken. */
export async function listenAdmin({ config, health, readiness, metrics }: AdminOptions): Promise<AdminServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, type = 'text/plain; charset=utf-8') => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
      response.end(request.method === 'HEAD' ? undefined : `${text.trimEnd()}\n`)
    }
    const fail = (error: unknown) => answer(503, error instanceof Error ? error.message : 'not ready')
    const tell = ({ ok, text }: Report) => answer(ok ? 200 : 503, text)
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'only GET is understood')
    const path = request.url?.split('?')[0]
    if (path === '/healthz') return tell(health())
    if (path === '/readyz') {
      return void readiness().then((problem) => tell({ ok: problem === undefined, text: problem ?? 'ok' }), fail)
    }
    if (path === '/metrics') return void metrics.text().then((text) => answer(200, text, METRICS_TYPE), fail)
    answer(404, 'not found; there is /healthz, /readyz and /metrics')
  })
  await bind(server, { host: config.ADMIN_HOST, port: config.ADMIN_PORT, settings: 'ADMIN_HOST, ADMIN_PORT' })
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
