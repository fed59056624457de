import { ChatError } from './chat-error.ts'
import type { Answer } from './conversation.ts'
import type { Outcome } from './frames.ts'

/** How a turn ended. `finishReason` and `usage` are undefined where the end was missed and read from the history. */
export type Ended = Omit<Answer, 'turnId' | 'outcome'> & { readonly outcome: Outcome }

/**
 * One turn that this client has asked for. Iterating it gives the answer's text in parts, from its beginning, as it
 * comes; over reconnects too, nothing missing and nothing twice. The iteration ends where the turn was completed or
 * stopped, and throws a ChatError where it failed, was interrupted or was refused. Leaving the iteration early does not
 * stop the turn, unless it was asked for with `stopOnBreak`.
 */
export interface Turn extends AsyncIterable<string> {
  /** Of the frame that asked for it. */
  readonly id: string
  /** The server's name for it; undefined until the server has it. */
  readonly turnId: string | undefined
  /** The answer so far. */
  readonly text: string
  /** Resolves when the turn has ended, whatever its outcome. Rejects with ChatError where it was refused, or its end cannot be known. */
  readonly ended: Promise<Ended>
  /** Ends it, running, waiting or not even sent; what was said is kept. */
  stop(): void
}

/** A turn as the chat sees it. */
export interface LiveTurn {
  readonly turn: Turn
  /** The server has it. */
  accept(turnId: string): void
  /** Tells what is known of its answer. Answers false where that is less, or other, than what was shown here. */
  show(answer: Answer | undefined): boolean
  settle(ended: Ended | ChatError): void
  isSettled(): boolean
}

/** See {@link Turn}. */
export function createTurn(id: string, stopOnBreak: boolean, onStop: () => void): LiveTurn {
  let turnId: string | undefined
  let text = ''
  let end: Ended | ChatError | undefined
  let settled: (end: Ended | ChatError) => void = () => undefined
  const waiting = new Set<() => void>()

  const ended = new Promise<Ended>((resolve, reject) => {
    settled = (how) => (how instanceof ChatError ? reject(how) : resolve(how))
  })
  // Who iterates hears of a failure there, and need not look here as well.
  ended.catch(() => undefined)

  function wake(): void {
    for (const go of waiting) go()
    waiting.clear()
  }

  function settle(how: Ended | ChatError): void {
    if (end !== undefined) return
    end = how
    settled(how)
    wake()
  }

  function stop(): void {
    if (end === undefined) onStop()
  }

  const turn: Turn = {
    id,
    get turnId() {
      return turnId
    },
    get text() {
      return text
    },
    ended,
    stop,
    async *[Symbol.asyncIterator]() {
      let given = 0
      try {
        for (;;) {
          if (text.length > given) {
            const delta = text.slice(given)
            given = text.length
            yield delta
          } else if (end === undefined) {
            await new Promise<void>((resolve) => waiting.add(resolve))
          } else {
            const failure = failureOf(end)
            if (failure !== undefined) throw failure
            return
          }
        }
      } finally {
        if (stopOnBreak) stop()
      }
    },
  }

  return {
    turn,
    settle,
    isSettled: () => end !== undefined,
    accept(name) {
      turnId = name
    },
    show(answer) {
      if (answer?.text.startsWith(text)) text = answer.text
      wake()
      const isWhole = text === (answer?.text ?? '')
      if (answer?.outcome !== undefined && isWhole) settle({ ...answer, outcome: answer.outcome })
      return isWhole
    },
  }
}

function failureOf(end: Ended | ChatError): ChatError | undefined {
  if (end instanceof ChatError) return end
  if (end.outcome === 'completed' || end.outcome === 'stopped') return undefined
  const { code = end.outcome, content = 'The answer was interrupted.' } = end.error ?? {}
  return new ChatError(code, content)
}
