import { createServer, type Server } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'
import type { Config } from '../config.ts'

/** Where a server listens, and the settings that say so. */
export interface Place {
  readonly host: string
  readonly port: number
  readonly settings: string
  /** Whether other processes may listen there, too. */
  readonly isShared?: boolean
}

/** Binds a server of Node.js alone to its place. Rejects where that is taken, or not this machine's. */
export function bind(server: Server, { host, port, settings, isShared = false }: Place): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = `${isIPv6(host) ? `[${host}]` : host}:${port}`
      reject(new Error(`cannot listen on ${where} (${settings}): ${error.code ?? error.message}`, { cause: error }))
    })
    server.listen({ port, host, reusePort: isShared }, resolve)
  })
}

/** The clients' port of a server of several processes. */
export interface ClaimedPort {
  readonly port: number
  /** Lets go of it, when the workers have it. */
  release(): Promise<void>
}

/**
 * Makes sure that the clients' port is this server's alone: workers share it, and the kernel lets whoever shares join, so
 * a port that somebody else has would be shared with him in silence. A port of the kernel's choice is kept until it is
 * released, lest it be given away meanwhile; nobody can know it yet. Rejects where the port is taken.
 */
export async function claimPort({ HOST, PORT }: Pick<Config, 'HOST' | 'PORT'>): Promise<ClaimedPort> {
  const server = createServer()
  const isAny = PORT === 0
  await bind(server, { host: HOST, port: PORT, settings: 'HOST, PORT', isShared: isAny })
  const { port } = server.address() as AddressInfo
  const release = () => new Promise<void>((resolve) => server.close(() => resolve()))
  if (!isAny) await release()
  return { port, release: isAny ? release : async () => {} }
}
