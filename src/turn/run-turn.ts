import { type TurnEvent, turnMachine } from '../../machines/turn.machine.ts'
import type { Actor, ActorHost } from '../actor/actor-host.ts'
import { type BehaviourOf, createInterpretedHost } from '../actor/interpreted-host.ts'
import type { Ticket } from '../coordination/fair-queue.ts'
import { ModelError } from '../model/chat-model.ts'
import type { Outcome, Usage } from '../protocol/entry.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import { type AnswerMeter, createAnswerMeter } from './answer-meter.ts'
import { createDeltaBatcher, type DeltaBatcher } from './delta-batcher.ts'
import { appendEndAtLast } from './end-turn.ts'
import type { RunTurn, TurnOptions, TurnRunnerOptions } from './turn.ts'

const MAX_BACKOFF_MS = 30_000

/** The subject of the turn's chart: its data, which no chart state repeats. */
interface Subject {
  readonly options: TurnOptions
  actor: Actor<TurnEvent> | undefined
  ticket: Ticket | undefined
  attempt: AbortController | undefined
  attempts: number
  readonly batcher: DeltaBatcher
  chunks: number
  readonly meter: AnswerMeter
  finishReason: string | null
  usage: Usage | null
  error: { code: ErrorCode; retryable: boolean; retryAfterMs: number | undefined } | undefined
}

/** Makes the function that runs turns: the attempt loop, driven by `machines/turn.machine.ts`. */
export function createTurnRunner(runner: TurnRunnerOptions): RunTurn {
  const { clock, logger } = runner

  const behaviour: BehaviourOf<typeof turnMachine, Subject, TurnEvent> = {
    actions: {
      waitForSlot(subject) {
        subject.ticket = runner.queue.request(subject.options.fairKey, {
          granted() {
            // It may be granted while the actor is being created, which cannot be told anything yet.
            queueMicrotask(() => send(subject, { type: 'slot.granted' }))
          },
          moved: subject.options.onPosition,
          refused() {
            queueMicrotask(() => send(subject, { type: 'slot.refused' }))
          },
        })
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
      abandon(subject) {
        letGo(subject)
        subject.options.onEnded()
      },
      end(subject, _event, { outcome }) {
        letGo(subject)
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
      letGo(subject)
      end(subject, 'failed')
    },
  })

  /** Ends the request to the model, and gives its place to the next turn. */
  function letGo(subject: Subject): void {
    subject.attempt?.abort()
    subject.ticket?.cancel()
  }

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
      const taken = subject.meter.take(event.content)
      if (taken !== '') subject.batcher.push(event.type, taken)
      if (taken.length === event.content.length) continue
      subject.finishReason = 'length'
      subject.attempt?.abort()
      await finish(subject, undefined)
      return
    }
    if (!signal.aborted) throw new ModelError('model_cut', 'the stream ended without a finish', { retryable: true })
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
    const failure = outcome === 'failed' ? (error?.code ?? 'model_failed') : undefined
    // A log that has not answered may take as long again for the end: the members need not wait for that, too.
    const isToldNow = failure === 'storage'
    if (isToldNow) options.onUnsaved()
    await appendEndAtLast(
      options.append,
      {
        turn_id: options.turn_id,
        outcome,
        error: outcome === 'interrupted' ? 'interrupted' : failure,
        finish_reason: outcome === 'completed' ? subject.finishReason : null,
        usage: subject.usage,
        words: subject.meter.words(),
      },
      { clock, logger, onUnsaved: isToldNow ? () => {} : options.onUnsaved },
    )
    options.onEnded()
  }

  return (options) => {
    let chunkNumber = 0
    const { turn_id, run } = options
    const subject: Subject = {
      options,
      actor: undefined,
      ticket: undefined,
      attempt: undefined,
      attempts: 0,
      batcher: createDeltaBatcher(
        async (kind, content) => {
          const type = kind === 'text' ? 'ai_stream_chunk' : 'ai_reasoning_chunk'
          const index = chunkNumber++
          await options.append({ type, turn_id, content, metadata: { index } }, `turn:${turn_id}:${run}:chunks`, index)
          if (kind === 'text') subject.meter.saved(content)
        },
        (error) => logFailed(subject, error),
      ),
      chunks: 0,
      meter: createAnswerMeter(runner.maxAnswerBytes),
      finishReason: null,
      usage: null,
      error: undefined,
    }
    subject.actor = host.create(subject)
    return {
      stop: () => send(subject, { type: 'turn.stop' }),
      interrupt: () => send(subject, { type: 'turn.interrupt' }),
      lose: () => send(subject, { type: 'turn.lost' }),
    }
  }
}
