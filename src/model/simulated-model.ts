import type { Clock } from '../actor/clock.ts'
import type { Usage } from '../protocol/entry.ts'
import type { ChatModel, ModelEvent, ModelRequest } from './chat-model.ts'

/** The tutorial's pauses: it thinks for half a second, and then for 50 to 200 ms after each word. */
const THINK_MS = 500
const SHORTEST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 200

/** How fast the simulated model speaks. */
export interface SimulatedModelOptions {
  readonly clock: Clock
  /** After each word, in ms; 50 to 200 at random by default. 0 sets no timer: as fast as the consumer takes it. */
  readonly delayMs?: number | undefined
  /** Before the first word, in ms; `delayMs` by default, or 500 without one. */
  readonly thinkMs?: number | undefined
}

/** The tutorial's model: repeats the user's words, word by word. Needs no network, and fails never. */
export function createSimulatedModel({ clock, delayMs, thinkMs }: SimulatedModelOptions): ChatModel {
  const thinkingMs = thinkMs ?? delayMs ?? THINK_MS
  const pauseMs = () => delayMs ?? SHORTEST_PAUSE_MS + Math.random() * (LONGEST_PAUSE_MS - SHORTEST_PAUSE_MS)

  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    const asked = request.messages.findLast((message) => message.role === 'user')?.content ?? ''
    const answer = `你说的是: ${asked}。让我想想...`
    if (thinkingMs > 0) await pause(clock, thinkingMs, signal)
    for (const word of answer.split(' ')) {
      if (signal.aborted) return
      yield { type: 'text', content: `${word} ` }
      if (delayMs !== 0) await pause(clock, pauseMs(), signal)
    }
    if (signal.aborted) return
    yield { type: 'finish', finish_reason: 'stop', usage: countUsage(request, answer) }
  }

  return { description: 'the simulated model', stream }
}

/** Resolves after a time, or at once when the signal aborts, leaving neither timer nor listener behind. */
function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const end = () => {
      clock.clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = clock.setTimeout(end, ms)
    signal.addEventListener('abort', end, { once: true })
  })
}

function countUsage(request: ModelRequest, answer: string): Usage {
  const prompt_tokens = request.messages.reduce((sum, message) => sum + countWords(message.content), 0)
  const completion_tokens = countWords(answer)
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}

function countWords(text: string): number {
  return text.split(/\s+/u).filter((word) => word !== '').length
}
