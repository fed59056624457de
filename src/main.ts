#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { type Logger, pino } from 'pino'
import { ConfigError, loadConfig } from './config.ts'
import { helpText, versionText } from './help.ts'
import { LogError } from './log/channel-log.ts'
import { createServer } from './server.ts'
import { runChat } from './terminal/run-chat.ts'

function createLogger(level: string): Logger {
  if (!process.stdout.isTTY) return pino({ level })
  return pino({
    level,
    transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname', translateTime: 'HH:MM:ss' } },
  })
}

function fail(message: string): void {
  process.stderr.write(`statewire: ${message}\n`)
  process.exitCode = 1
}

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
  const server = createServer(config, { logger })
  let isStopping = false
  const stop = (signal: NodeJS.Signals) => {
    // The second signal of an impatient operator, whichever it is, ends the process at once.
    if (isStopping) process.exit(1)
    isStopping = true
    logger.info({ signal }, 'stopping')
    server.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.fatal({ err: error }, 'the stop failed')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  await server.start()
}

main().catch((error: unknown) => {
  if (!(error instanceof Error)) fail(String(error))
  else fail(isTold(error) ? error.message : (error.stack ?? error.message))
})

/** What an operator can mend is told in one line; a stack is for what we must mend. */
function isTold(error: Error): boolean {
  const isUsage = 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_')
  return error instanceof ConfigError || error instanceof LogError || isUsage || error.message.startsWith('cannot ')
}
