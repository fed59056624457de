import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../src/config.ts'
import { createServer } from '../../src/server.ts'
import { type CuttableProxy, startCuttableProxy } from './cuttable-proxy.ts'
import { createScriptedModel, type ScriptedModel } from './scripted-model.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The real server with a scripted model, behind a line that can be cut. */
export interface ChatPageServer {
  /** Of the chat page, through the line. */
  readonly url: string
  readonly line: CuttableProxy
  readonly model: ScriptedModel
  stop(): Promise<void>
}

/** Starts the server on free ports, with the pages as their sources are now. */
export async function startChatPageServer(): Promise<ChatPageServer> {
  buildPagesIfStale()
  const model = createScriptedModel()
  const env = { STORE: 'memory', PORT: '0', ADMIN_PORT: '0', DRAIN_MS: '100' }
  const server = createServer(loadConfig(env), { model })
  await server.start()
  const line = await startCuttableProxy(server.port)
  return {
    url: `http://127.0.0.1:${line.port}/`,
    line,
    model,
    async stop() {
      await line.close()
      await server.stop()
    },
  }
}

/** `npm ci` has built them; whoever edits a page between two runs of its test should see the edit tested. */
function buildPagesIfStale(): void {
  const built = newest(join(root, 'dist/web'))
  if (built > Math.max(newest(join(root, 'src/web')), newest(join(root, 'src/client')))) return
  const vite = join(root, 'node_modules/vite/bin/vite.js')
  const { status, stderr } = spawnSync(process.execPath, [vite, 'build'], { cwd: root, encoding: 'utf8' })
  if (status !== 0) throw new Error(`the pages could not be built: ${stderr}`)
}

function newest(directory: string): number {
  if (statSync(directory, { throwIfNoEntry: false }) === undefined) return 0
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  return Math.max(0, ...names.map((name) => statSync(join(directory, name)).mtimeMs))
}
