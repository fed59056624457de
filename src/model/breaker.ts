import { type UpstreamEvent, upstreamMachine } from '../../machines/upstream.machine.ts'
import type { ActorHost, HostOptions } from '../actor/actor-host.ts'
import type { Clock } from '../actor/clock.ts'
import { type BehaviourOf, createInterpretedHost } from '../actor/interpreted-host.ts'
import { type ChatModel, ModelError, type ModelErrorCode, type ModelEvent, type ModelRequest } from './chat-model.ts'

/** Failures in a row until the breaker opens. */
export const FAILURES = 5
/** How long it stays open, in ms. */
export const COOL_OFF_MS = 10_000

/** Failures of the endpoint. A 429 or another 4xx is an answer, and shows that it lives. */
const FAILS: ReadonlySet<ModelErrorCode> = new Set(['model_unavailable', 'model_timeout', 'model_cut'])
const ANSWERS: ReadonlySet<ModelErrorCode> = new Set(['model_busy', 'model_refused'])

/** What the chart's guards and actions know of the endpoint. */
export interface Endpoint {
  /** In a row, so far. */
  failures: number
}

type UpstreamBehaviour = BehaviourOf<typeof upstreamMachine, Endpoint, UpstreamEvent>

/** How a breaker is set up. */
export interface BreakerOptions extends HostOptions<Endpoint, UpstreamEvent> {
  readonly clock: Clock
  /** In a row; 5 by default. */
  readonly failures?: number
  /** In ms; 10,000 by default. */
  readonly coolOffMs?: number
  /** What runs the chart; XState's interpreter by default. An endpoint sees a few events a turn, so either host will do. */
  readonly createHost?: (
    machine: typeof upstreamMachine,
    behaviour: UpstreamBehaviour,
    clock: Clock,
    options: HostOptions<Endpoint, UpstreamEvent>,
  ) => ActorHost<Endpoint, UpstreamEvent>
}

/**
 * Puts a circuit breaker in front of a model's endpoint. What may go through is the `upstream` chart's decision: an
 * attempt that it does not take fails at once as `model_unavailable`, without a request.
 */
export function withBreaker(model: ChatModel, options: BreakerOptions): ChatModel {
  const { clock, failures = FAILURES, coolOffMs = COOL_OFF_MS, createHost = createInterpretedHost } = options
  const host = createHost(
    upstreamMachine,
    {
      guards: { reachesLimit: (endpoint) => endpoint.failures + 1 >= failures },
      actions: {
        letThrough: () => {},
        countFailure: (endpoint) => void endpoint.failures++,
        forgetFailures(endpoint) {
          endpoint.failures = 0
        },
      },
      delays: { coolOff: () => coolOffMs },
    },
    clock,
    options,
  )
  const breaker = host.create({ failures: 0 })

  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    if (signal.aborted) return
    if (!breaker.send({ type: 'attempt.started' })) {
      throw new ModelError('model_unavailable', 'the circuit breaker is open', { retryable: false })
    }
    let probing = breaker.matches('halfOpen.probing')
    function endProbe(outcome: 'probe.succeeded' | 'probe.failed' | 'probe.abandoned'): void {
      if (!probing) return
      probing = false
      breaker.send({ type: outcome })
    }
    // At the abort and not when the model has ended: a model that is slow to end must not keep the breaker half open.
    const abandon = () => endProbe('probe.abandoned')
    signal.addEventListener('abort', abandon, { once: true })

    try {
      for await (const event of model.stream(request, signal)) {
        // The first event tells that the endpoint is back; others need not wait for the end of a long answer.
        if (probing) endProbe('probe.succeeded')
        if (event.type === 'finish') breaker.send({ type: 'attempt.succeeded' })
        yield event
      }
    } catch (error) {
      const code = error instanceof ModelError && !signal.aborted ? error.code : undefined
      if (code !== undefined && FAILS.has(code)) {
        if (probing) endProbe('probe.failed')
        else breaker.send({ type: 'attempt.failed' })
      } else if (code !== undefined && ANSWERS.has(code)) {
        if (probing) endProbe('probe.succeeded')
        else breaker.send({ type: 'attempt.succeeded' })
      }
      throw error
    } finally {
      signal.removeEventListener('abort', abandon)
      endProbe('probe.abandoned')
    }
  }

  return { description: model.description, stream }
}
