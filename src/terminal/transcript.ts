import type { Item } from '../client/index.ts'

/** Writes a chat as it goes on, each word once. */
export interface Transcript {
  /** Writes what has come since the last call. */
  update(items: readonly Item[]): void
}

/** What becomes of the parts. `isTyped` tells which questions stand on the screen already, by their ids. */
export interface TranscriptParts {
  write(text: string): void
  isTyped(id: string): boolean
  question(text: string): string
  note(text: string): string
}

/** See {@link Transcript}. A question that waits behind a running answer is written when that has ended. */
export function createTranscript({ write, isTyped, question, note }: TranscriptParts): Transcript {
  const asked = new Set<string>()
  const ended = new Set<string>()
  let running: { turnId: string; length: number } | undefined

  /** Answers whether the turn has nothing more to say. */
  function writeTurn(item: Extract<Item, { kind: 'turn' }>): boolean {
    if (item.question !== undefined && !asked.has(item.turnId)) {
      asked.add(item.turnId)
      if (item.id === undefined || !isTyped(item.id)) write(`${question(`> ${printable(item.question)}`)}\n`)
    }
    const { answer } = item
    if (answer === undefined) return false
    const { turnId, text, outcome } = answer
    if (ended.has(turnId)) return true
    if (running?.turnId !== turnId) running = { turnId, length: 0 }
    if (text.length > running.length) write(printable(text.slice(running.length)))
    running.length = Math.max(running.length, text.length)
    if (outcome === undefined) return false
    ended.add(turnId)
    running = undefined
    const why = outcome === 'failed' ? (answer.error?.content ?? 'The answer failed.') : `The answer was ${outcome}.`
    if (text !== '' && !text.endsWith('\n')) write('\n')
    write(outcome === 'completed' ? '\n' : `${note(`[${why}]`)}\n\n`)
    return true
  }

  return {
    update(items) {
      for (const item of items) {
        if (item.kind === 'divider') {
          if (!asked.has(item.key))
            write(`${note(item.edge === 'start' ? '[A new conversation]' : '[The conversation ended]')}\n\n`)
          asked.add(item.key)
        } else if (!writeTurn(item)) return
      }
    },
  }
}

/** Without what could command a terminal: control characters but for new lines and tabs. */
function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, '')
}
