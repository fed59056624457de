import { type Logger, pino } from 'pino'

/** The command's log: JSON lines on standard output, pretty on a terminal. `hidden` are fields that it leaves out there. */
export function createLogger(level: string, hidden = 'pid,hostname'): Logger {
  if (!process.stdout.isTTY) return pino({ level })
  return pino({
    level,
    transport: { target: 'pino-pretty', options: { ignore: hidden, translateTime: 'HH:MM:ss' } },
  })
}
