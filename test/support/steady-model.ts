import type { ChatModel } from '../../src/model/chat-model.ts'

/** A model that says as much as a test asks for, when it asks. One turn at a time. */
export interface SteadyModel extends ChatModel {
  /** Says so many characters; resolves when the server has taken them. */
  say(characters: number): Promise<void>
  finish(): void
}

const WORD = `${'x'.repeat(8 * 1024 - 1)} `

/** Begins each answer with one word by itself. */
export function createSteadyModel(): SteadyModel {
  let asked = Promise.withResolvers<{ left: number; taken: () => void } | undefined>()
  return {
    description: 'a model that speaks when it is told to',
    async *stream(_request, signal) {
      yield { type: 'text', content: 'so ' }
      signal.addEventListener('abort', () => asked.resolve(undefined))
      for (;;) {
        const order = await asked.promise
        if (order === undefined) break
        asked = Promise.withResolvers()
        for (; order.left > 0; order.left -= WORD.length) yield { type: 'text', content: WORD.slice(0, order.left) }
        order.taken()
      }
      if (!signal.aborted) yield { type: 'finish', finish_reason: 'stop', usage: null }
    },
    say(characters) {
      return new Promise((resolve) => asked.resolve({ left: characters, taken: resolve }))
    },
    finish: () => asked.resolve(undefined),
  }
}
