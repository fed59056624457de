import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createServer } from '../../src/server.ts'
import type { ServerParts, StatewireServer } from '../../src/server-parts.ts'

/** Settings of a test's server, as environment variables. Both ports are free ones unless set. */
export type Env = Record<string, string>

/** A server in the test's own process. */
export interface TestServer extends StatewireServer {
  /** `ws://127.0.0.1:<port>`. */
  readonly url: string
}

const QUICK: Env = {
  PORT: '0',
  ADMIN_PORT: '0',
  STORE: 'memory',
  SIMULATED_DELAY_MS: '0',
  LOG_LEVEL: 'silent',
  DRAIN_MS: '0',
  RATE_LIMIT: '1000',
}

/** Starts a server in this process, and stops it when the test has finished. In memory, unless `env` says otherwise. */
export async function startServer(env: Env = {}, parts: ServerParts = {}): Promise<TestServer> {
  const server = createServer(loadConfig({ ...QUICK, ...env }), parts)
  await server.start()
  onTestFinished(() => server.stop())
  return Object.assign(server, { url: `ws://127.0.0.1:${server.port}` })
}

/** A directory that is removed when the test has finished. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'statewire-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** A server in a process of its own, as an operator runs it. */
export interface ServerProcess {
  readonly url: string
  readonly adminUrl: string
  readonly process: ChildProcess
  /** What it has logged, line by line. */
  readonly lines: string[]
  /** Ends it by a signal, SIGKILL by default, and waits for its end. */
  kill(signal?: NodeJS.Signals): Promise<void>
}

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** Starts `src/main.ts`, waits until it listens, and ends it when the test has finished. SQLite in `env.DATA_DIR`. */
export async function spawnServer(env: Env): Promise<ServerProcess> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN], {
    env: { ...process.env, ...QUICK, STORE: 'sqlite', LOG_LEVEL: 'info', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'exit')
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    child.kill(signal)
    await ended
  }
  onTestFinished(() => kill())
  const lines: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => lines.push(line))
  const listening = await new Promise<{ address: string; admin: string }>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line)
      const entry: unknown = JSON.parse(line)
      if (isListening(entry)) resolve(entry)
    })
    ended.then(() => reject(new Error(`the server ended at its start:\n${lines.join('\n')}`)))
  })
  return { url: listening.address.replace('http', 'ws'), adminUrl: listening.admin, process: child, lines, kill }
}

function isListening(entry: unknown): entry is { address: string; admin: string } {
  return typeof entry === 'object' && entry !== null && 'address' in entry && 'admin' in entry
}
