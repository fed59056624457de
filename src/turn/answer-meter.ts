import { createWordCount } from './word-count.ts'

/** Measures an answer as it comes in: its bytes against their limit, and its words. */
export interface AnswerMeter {
  /** How much of a delta still fits; all of it but where the limit is reached. */
  take(content: string): string
  /** Counts the words of a text that is in the log. */
  saved(text: string): void
  words(): number
}

/** `maxBytes` of UTF-8, reasoning included; words are those of the text alone, and of what was saved: the rest was never shown. */
export function createAnswerMeter(maxBytes: number): AnswerMeter {
  const words = createWordCount()
  let left = maxBytes
  return {
    take(content) {
      const bytes = Buffer.byteLength(content)
      const taken = bytes <= left ? content : beginningOf(content, left)
      left = Math.max(0, left - bytes)
      return taken
    },
    saved: words.add,
    words: words.total,
  }
}

/** The longest beginning of a text that has at most so many bytes of UTF-8, and does not end within a character. */
function beginningOf(text: string, bytes: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytes))
  return text.slice(0, read)
}
