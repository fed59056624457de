#!/usr/bin/env node
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadConfig } from './config.ts'
import { helpText, versionText } from './help.ts'
import { createLogger } from './logger.ts'
import { obeySignals } from './signals.ts'
import { runChat } from './terminal/run-chat.ts'
import { tellFailure } from './told.ts'

/** Runs from source and from `dist` alike: the neighbour has the same ending as this file. */
const WORKER_FILE = fileURLToPath(new URL(`./run-worker${extname(import.meta.url)}`, import.meta.url))

async function main(): Promise<void> {
  if (process.argv[2] === 'chat') return chat(process.argv.slice(3))
  const { values } = parseArgs({
    options: { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean', short: 'v' } },
  })
  if (values.help === true) process.stdout.write(helpText())
  else if (values.version === true) process.stdout.write(versionText())
  else await serve()
}

async function chat(args: string[]): Promise<void> {
  const code = await runChat(args)
  // A socket that was given up may still be on its way out.
  process.exit(code)
}

async function serve(): Promise<void> {
  const config = loadConfig(process.env)
  const logger = createLogger(config.LOG_LEVEL)
  if (config.WORKERS > 1) {
    const { createSupervisor } = await import('./supervisor/supervisor.ts')
    const supervisor = createSupervisor(config, logger, WORKER_FILE)
    obeySignals(supervisor, logger)
    await supervisor.start()
  } else {
    // Loaded here alone: a supervisor serves nobody, and needs nothing of a server.
    const { createServer } = await import('./server.ts')
    const server = createServer(config, { logger })
    obeySignals({ stop: server.stop, abort: () => {}, reload: undefined }, logger)
    await server.start()
  }
}

main().catch((error: unknown) => {
  tellFailure(error)
  process.exitCode = 1
})
