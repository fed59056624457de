import type { ChatModel, ModelEvent } from '../../src/model/chat-model.ts'

/** What a test makes the model do next in one answer. */
export interface HeldStream {
  say(content: string): void
  finish(): void
}

/** A model whose answers are given by the test, delta by delta. */
export interface HeldModel extends ChatModel {
  /** The next answer that is asked for, in order. */
  asked(): Promise<HeldStream>
}

export function createHeldModel(): HeldModel {
  const streams: HeldStream[] = []
  const waiting: ((stream: HeldStream) => void)[] = []
  async function* stream(_: unknown, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    const events: ModelEvent[] = []
    let wake = () => {}
    const push = (event: ModelEvent) => {
      events.push(event)
      wake()
    }
    signal.addEventListener('abort', () => wake(), { once: true })
    const held: HeldStream = {
      say: (content) => push({ type: 'text', content }),
      finish: () => push({ type: 'finish', finish_reason: 'stop', usage: null }),
    }
    const next = waiting.shift()
    if (next === undefined) streams.push(held)
    else next(held)
    while (!signal.aborted) {
      const event = events.shift()
      if (event === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      yield event
      if (event.type === 'finish') return
    }
  }
  return {
    description: 'a model that a test holds',
    stream,
    asked() {
      const stream = streams.shift()
      if (stream !== undefined) return Promise.resolve(stream)
      return new Promise((resolve) => waiting.push(resolve))
    },
  }
}
