import { type ChatModel, ModelError, type ModelEvent } from '../../src/model/chat-model.ts'

/** One request to the model, whose answer the test speaks word by word. */
export interface Speech {
  /** The user's message that is answered. */
  readonly question: string
  /** Whether the server has let go of it. */
  readonly aborted: boolean
  say(text: string): void
  think(text: string): void
  finish(): void
  /** Breaks off, as an upstream does that went away. */
  breakOff(): void
}

/** A model that says what a test wants, when it wants it. */
export interface ScriptedModel extends ChatModel {
  /** The next request that has not been taken yet. */
  asked(): Promise<Speech>
}

/** See {@link ScriptedModel}. */
export function createScriptedModel(): ScriptedModel {
  const waiting: Speech[] = []
  const takers: ((speech: Speech) => void)[] = []

  return {
    description: 'a script',
    asked() {
      const speech = waiting.shift()
      return speech === undefined ? new Promise((resolve) => takers.push(resolve)) : Promise.resolve(speech)
    },
    async *stream(request, signal) {
      const events: (ModelEvent | ModelError)[] = []
      let wake: (() => void) | undefined
      const push = (event: ModelEvent | ModelError) => {
        events.push(event)
        wake?.()
      }
      signal.addEventListener('abort', () => wake?.())
      const speech: Speech = {
        question: request.messages.at(-1)?.content ?? '',
        get aborted() {
          return signal.aborted
        },
        say: (content) => push({ type: 'text', content }),
        think: (content) => push({ type: 'reasoning', content }),
        finish: () => push({ type: 'finish', finish_reason: 'stop', usage: null }),
        breakOff: () => push(new ModelError('model_cut', 'the script ends here', { retryable: false })),
      }
      const taker = takers.shift()
      if (taker === undefined) waiting.push(speech)
      else taker(speech)
      while (!signal.aborted) {
        const event = events.shift()
        if (event instanceof ModelError) throw event
        if (event !== undefined) yield event
        if (event?.type === 'finish') return
        if (events.length > 0) continue
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
  }
}
