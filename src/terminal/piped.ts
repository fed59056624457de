import { createInterface } from 'node:readline'
import { type Chat, ChatError, type Turn } from '../client/index.ts'
import { COMMANDS, noCommand } from './commands.ts'
import { loseHope } from './link-lines.ts'

/**
 * Asks line by line what comes on standard input, and writes nothing but the answers. Answers the exit code: 0, 1 where
 * something failed, an unknown command too, which ends it, and 130 where a person interrupted it.
 */
export async function runPiped(chat: Chat, tell: (line: string) => void): Promise<number> {
  let isInterrupted = false
  const stop = () => {
    if (isInterrupted) process.exit(130)
    isInterrupted = true
    chat.stop()
  }
  process.on('SIGINT', stop)
  loseHope(chat, () => {
    tell('There is no connection.')
    chat.close()
  })
  const lines = createInterface({ input: process.stdin })
  try {
    for await (const line of lines) {
      const text = line.trim()
      const unknown = noCommand(text)
      if (unknown !== undefined) {
        tell(unknown)
        return 1
      }
      if (text === '/quit') return 0
      if (text === '/new') await chat.startConversation()
      else if (text === '/help') process.stderr.write(COMMANDS)
      else if (text === '/regenerate') await answer(chat.regenerate())
      else if (text !== '' && text !== '/stop') await answer(chat.send(line))
      if (isInterrupted) return 130
    }
    return 0
  } catch (error) {
    if (!(error instanceof ChatError)) throw error
    // That the connection has ended was told when it did.
    if (error.code !== 'closed') tell(error.message)
    return isInterrupted ? 130 : 1
  } finally {
    process.off('SIGINT', stop)
    lines.close()
  }
}

async function answer(turn: Turn): Promise<void> {
  try {
    for await (const delta of turn) process.stdout.write(delta)
  } finally {
    if (turn.text !== '' && !turn.text.endsWith('\n')) process.stdout.write('\n')
  }
}
