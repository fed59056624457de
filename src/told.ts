import { ConfigError } from './config.ts'
import { LogError } from './log/channel-log.ts'

/** Why a server of several processes could not start: one line that an operator can act on. */
export class StartError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'StartError'
  }
}

/** What an operator can mend is told in one line: its sentence. Undefined where it is ours to mend, by the stack. */
export function toldSentence(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const isUsage = 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_')
  const isTold = [ConfigError, LogError, StartError].some((told) => error instanceof told) || isUsage
  return isTold || error.message.startsWith('cannot ') ? error.message : undefined
}

/** Writes why the command failed to standard error. */
export function tellFailure(error: unknown): void {
  const text = toldSentence(error) ?? (error instanceof Error ? (error.stack ?? error.message) : String(error))
  process.stderr.write(`statewire: ${text}\n`)
}
