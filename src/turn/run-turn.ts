import type { Logger } from 'pino'
import { type TurnEvent, turnMachine } from '../../machines/turn.machine.ts'
import type { Actor, ActorHost } from '../actor/actor-host.ts'
import type { Clock } from '../actor/clock.ts'
import { type BehaviourOf, createInterpretedHost } from '../actor/interpreted-host.ts'
import type { Appended } from '../log/channel-log.ts'
import { type ChatModel, ModelError, type ModelRequest } from '../model/chat-model.ts'
import type { Entry, Outcome, Usage } from '../protocol/entry.ts'
import { ERRORS, type ErrorCode } from '../protocol/errors.ts'
import { createDeltaBatcher, type DeltaBatcher, type DeltaKind } from './delta-batcher.ts'
import type { LlmQueue, Ticket } from './llm-queue.ts'

/** What one turn needs of its surroundings. */
export interface TurnOptions {
  readonly turn_id: string
  /** Which process this is that takes it up, counted from 1. */
  readonly run: number
  /** The log has its `typing` already: it was regenerated, or taken up again. */
  readonly isAsked: boolean
  /** What the model is asked; made when the first attempt begins. */
  readonly request: () => ModelRequest
  readonly model: ChatModel
  /** Whose turn it is, for fairness. */
  readonly fairKey: string
  /** Appends an entry of this turn. */
  readonly append: (entry: Entry, producer: string, sequence: number | string) => Promise<Appended>
  /** Told whenever the place in the model's queue changes; from 1. */
  readonly onPosition: (position: number) => void
  /** The terminal entry is in the log. */
  readonly onEnded: (outcome: Outcome) => void
  /** The terminal entry could not be written yet; it will be tried again. Told once. */
  readonly onUnsaved: () => void
}

/** A running turn. */
export interface Turn {
  stop(): void
  interrupt(): void
}

/** What all turns share. */
export interface TurnRunnerOptions {
  readonly clock: Clock
  readonly queue: LlmQueue
  readonly logger: Logger
  readonly maxAttempts: number
  readonly backOffMs: number
  readonly maxAnswerBytes: number
}

/** Starts a turn. */
export type RunTurn = (options: TurnOptions) => Turn

const MAX_BACKOFF_MS = 30_000
/** How long a terminal entry that could not be written waits for its next try. */
const RETRY_END_MS = 1_000

/** The subject of the turn's chart: its data, which no chart state repeats. */
interface Subject {
  readonly options: TurnOptions
  actor: Actor<TurnEvent> | undefined
  ticket: Ticket | undefined
  release: (() => void) | undefined
  attempt: AbortController | undefined
  attempts: number
  readonly batcher: DeltaBatcher
  chunks: number
  bytes: number
  words: WordCount
  finishReason: string | null
  usage: Usage | null
  error: { code: ErrorCode; retryable: boolean; retryAfterMs: number | undefined } | undefined
  isLogBroken: boolean
}

/** Makes the function that runs turns: the attempt loop, driven by `machines/turn.machine.ts`. */
export function createTurnRunner(runner: TurnRunnerOptions): RunTurn {
  const { clock, logger } = runner

  const behaviour: BehaviourOf<typeof turnMachine, Subject, TurnEvent> = {
    actions: {
      waitForSlot(subject) {
        const ticket = runner.queue.request(subject.options.fairKey, {
          granted(release) {
            subject.release = release
            subject.actor === undefined
              ? queueMicrotask(() => send(subject, { type: 'slot.granted' }))
              : send(subject, { type: 'slot.granted' })
          },
          moved: subject.options.onPosition,
        })
        subject.ticket = ticket
        if (ticket === undefined) queueMicrotask(() => send(subject, { type: 'slot.refused' }))
      },
      startAttempt(subject) {
        subject.attempts++
        const abort = new AbortController()
        subject.attempt = abort
        attempt(subject, abort.signal).catch((error: unknown) => fail(subject, abort.signal, error))
      },
      keepError(subject, event) {
        if (event.type === 'attempt.failed') subject.error = event.error
      },
      keepQueueError(subject) {
        subject.error = { code: 'model_busy', retryable: false, retryAfterMs: undefined }
      },
      keepLogError(subject) {
        subject.error = { code: 'storage', retryable: false, retryAfterMs: undefined }
      },
      end(subject, _event, { outcome }) {
        subject.attempt?.abort()
        subject.ticket?.cancel()
        subject.release?.()
        end(subject, outcome)
      },
    },
    guards: {
      mayRetry: (subject, event) =>
        event.type === 'attempt.failed' &&
        event.error.retryable &&
        subject.chunks === 0 &&
        subject.attempts < runner.maxAttempts,
    },
    delays: {
      backOff(subject) {
        const doubled = Math.min(MAX_BACKOFF_MS, runner.backOffMs * 2 ** (subject.attempts - 1))
        const asked = Math.min(MAX_BACKOFF_MS, subject.error?.retryAfterMs ?? 0)
        return Math.max(asked, doubled * (0.5 + Math.random() / 2))
      },
    },
  }

  const host: ActorHost<Subject, TurnEvent> = createInterpretedHost(turnMachine, behaviour, clock, {
    onError(subject, error) {
      logger.error({ err: error, turn_id: subject.options.turn_id }, 'a turn failed by a fault of the server')
      subject.attempt?.abort()
      subject.ticket?.cancel()
      subject.release?.()
      end(subject, 'failed')
    },
  })

  function send(subject: Subject, event: TurnEvent): void {
    subject.actor?.send(event)
  }

  async function attempt(subject: Subject, signal: AbortSignal): Promise<void> {
    const { options } = subject
    const { turn_id, run } = options
    const asked =
      options.isAsked || subject.attempts > 1
        ? undefined
        : options.append({ type: 'typing', turn_id }, `turn:${turn_id}`, 'typing')
    const logged = options.append(
      { type: 'attempt', turn_id, attempt: subject.attempts, run },
      `turn:${turn_id}:${run}`,
      subject.attempts,
    )
    try {
      await Promise.all([asked, logged])
    } catch (error) {
      logFailed(subject, error)
      return
    }
    if (signal.aborted) return
    for await (const event of options.model.stream(options.request(), signal)) {
      if (signal.aborted) return
      if (event.type === 'finish') {
        subject.finishReason = event.finish_reason
        subject.usage = event.usage
        await finish(subject, signal)
        return
      }
      if (event.content === '') continue
      if (subject.chunks++ === 0) send(subject, { type: 'attempt.delta' })
      if (take(subject, event.type, event.content)) continue
      subject.finishReason = 'length'
      subject.attempt?.abort()
      await finish(subject, undefined)
      return
    }
    if (!signal.aborted) throw new ModelError('model_cut', 'the stream ended without a finish', { retryable: true })
  }

  /** Takes a delta into the answer; answers false where that made it too long, with what fits taken. */
  function take(subject: Subject, kind: DeltaKind, content: string): boolean {
    const left = runner.maxAnswerBytes - subject.bytes
    // One UTF-16 unit is at most three bytes of UTF-8, so most deltas need no count.
    const bytes = content.length * 3 <= left ? content.length * 3 : Buffer.byteLength(content)
    const fits = bytes <= left
    const text = fits ? content : cutToBytes(content, left)
    subject.bytes += fits ? Buffer.byteLength(content) : left
    if (text !== '') {
      if (kind === 'text') subject.words.add(text)
      subject.batcher.push(kind, text)
    }
    return fits
  }

  async function finish(subject: Subject, signal: AbortSignal | undefined): Promise<void> {
    try {
      await subject.batcher.flush()
    } catch {
      // The batcher has told logFailed, which ended the turn.
      return
    }
    if (signal?.aborted !== true) send(subject, { type: 'attempt.finished' })
  }

  function fail(subject: Subject, signal: AbortSignal, error: unknown): void {
    // After an abort, the stream's end is ours, however it is told.
    if (signal.aborted) return
    const failure =
      error instanceof ModelError
        ? error
        : new ModelError('model_failed', 'the model threw', { retryable: false, cause: error })
    logger.warn(
      { turn_id: subject.options.turn_id, attempt: subject.attempts, code: failure.code, err: failure },
      'an attempt failed',
    )
    const { code, retryable, retryAfterMs } = failure
    // What the model said before it broke is kept, and is in the log before the turn's end.
    send(subject, { type: 'attempt.failed', error: { code, retryable, retryAfterMs } })
  }

  function logFailed(subject: Subject, error: unknown): void {
    subject.isLogBroken = true
    logger.error({ err: error, turn_id: subject.options.turn_id }, 'an entry of a turn could not be written')
    send(subject, { type: 'log.failed' })
  }

  async function end(subject: Subject, outcome: Outcome): Promise<void> {
    const { options, error } = subject
    try {
      await subject.batcher.flush()
    } catch {
      // The batcher has told logFailed; the terminal entry below is tried until the log takes it.
    }
    const code: ErrorCode | undefined =
      outcome === 'failed' ? (error?.code ?? 'model_failed') : outcome === 'interrupted' ? 'interrupted' : undefined
    const entry: Entry = {
      type: 'ai_stream_end',
      turn_id: options.turn_id,
      outcome,
      finish_reason: outcome === 'completed' ? subject.finishReason : null,
      usage: subject.usage,
      ...(code !== undefined && { error: { code, content: ERRORS[code].content } }),
      content: '',
      metadata: { total_words: subject.words.total() },
    }
    const write = (isFirst: boolean): Promise<void> =>
      options.append(entry, `turn:${options.turn_id}`, 'end').then(
        () => options.onEnded(outcome),
        (failure: unknown) => {
          if (isFirst) {
            logger.error(
              { err: failure, turn_id: options.turn_id },
              'the end of a turn could not be written; trying again',
            )
            options.onUnsaved()
          }
          clock.setTimeout(() => void write(false), RETRY_END_MS)
        },
      )
    await write(true)
  }

  return (options) => {
    let chunkNumber = 0
    const { turn_id, run } = options
    const subject: Subject = {
      options,
      actor: undefined,
      ticket: undefined,
      release: undefined,
      attempt: undefined,
      attempts: 0,
      batcher: createDeltaBatcher(
        (kind, content) => {
          const type = kind === 'text' ? 'ai_stream_chunk' : 'ai_reasoning_chunk'
          const index = chunkNumber++
          return options.append({ type, turn_id, content, metadata: { index } }, `turn:${turn_id}:${run}:chunks`, index)
        },
        (error) => logFailed(subject, error),
      ),
      chunks: 0,
      bytes: 0,
      words: createWordCount(),
      finishReason: null,
      usage: null,
      error: undefined,
      isLogBroken: false,
    }
    subject.actor = host.create(subject)
    return {
      stop: () => send(subject, { type: 'turn.stop' }),
      interrupt: () => send(subject, { type: 'turn.interrupt' }),
    }
  }
}

interface WordCount {
  add(text: string): void
  total(): number
}

/** Counts words between white space as the text comes in pieces, without keeping the text. */
function createWordCount(): WordCount {
  let words = 0
  let isInWord = false
  return {
    add(text) {
      for (const piece of text.split(/(\s+)/)) {
        if (piece === '') continue
        const isSpace = /^\s/.test(piece)
        if (!isSpace && !isInWord) words++
        isInWord = !isSpace
      }
    },
    total: () => words,
  }
}

/** The longest beginning of a text that has at most so many bytes of UTF-8, and does not end within a character. */
function cutToBytes(text: string, bytes: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytes))
  return text.slice(0, read)
}
