import { type AnyEventObject, type AnyStateMachine, createActor, type InspectionEvent } from 'xstate'
import type { Actor, ActorEvent, ActorHost, Behaviour, HostEvent, HostOptions, StateValue } from './actor-host.ts'
import type { Clock, Timer } from './clock.ts'

type Provided<M extends AnyStateMachine> = Parameters<M['provide']>[0]
type ActionsOf<M extends AnyStateMachine> = NonNullable<Provided<M>['actions']>
type ParamsOf<F> = F extends (args: never, params: infer P) => unknown ? P : never

/** The behaviour that a machine needs, name by name: a missing, unknown or wrongly parametrised one is a type error. */
export interface BehaviourOf<M extends AnyStateMachine, S, E extends ActorEvent> extends Behaviour<S, E> {
  readonly actions: {
    readonly [K in keyof ActionsOf<M>]-?: (subject: S, event: E, params: ParamsOf<NonNullable<ActionsOf<M>[K]>>) => void
  }
  readonly guards: { readonly [K in keyof NonNullable<Provided<M>['guards']>]-?: (subject: S, event: E) => boolean }
  readonly delays: { readonly [K in keyof NonNullable<Provided<M>['delays']>]-?: (subject: S) => number }
}

/**
 * Runs charts on XState's interpreter, the reference. The machine's implementations are provided once for all actors:
 * they learn their subject from `current`, since XState gives guards no way to know their actor, and a machine
 * provided anew per actor would cost more than the actor.
 */
export function createInterpretedHost<M extends AnyStateMachine, S, E extends ActorEvent>(
  machine: M,
  behaviour: BehaviourOf<M, S, E>,
  clock: Clock,
  options: HostOptions<S, E>,
): ActorHost<S, E> {
  const { onTransition, onError } = options
  let current: S | undefined
  // Set around each start, event and timer, so it is there whenever XState calls an implementation.
  const subject = (): S => current as S

  function within<T>(of: S, run: () => T): T {
    const outer = current
    current = of
    try {
      return run()
    } finally {
      current = outer
    }
  }

  const plain: Behaviour<S, E> = behaviour
  const provided = machine.provide({
    actions: mapValues(plain.actions, (action) => (args: { event: AnyEventObject }, params: unknown) => {
      action(subject(), args.event as unknown as E, params as never)
    }),
    guards: mapValues(plain.guards, (guard) => (args: { event: AnyEventObject }) => {
      return guard(subject(), args.event as unknown as E)
    }),
    delays: mapValues(plain.delays, (delay) => () => delay(subject())),
  } as Provided<AnyStateMachine>)

  function createFor(of: S): Actor<E> {
    let isInHand = false
    const pending: E[] = []
    // Its initial state is computed here already, guards and delays included.
    const actor = within(of, () =>
      createActor(provided, {
        clock: {
          setTimeout: (callback: () => void, delayMs: number) =>
            clock.setTimeout(() => {
              takeInHand(callback)
              takePending()
            }, delayMs),
          clearTimeout: (timer: Timer | undefined) => timer !== undefined && clock.clearTimeout(timer),
        },
        // It costs every event something, whether it does anything or not.
        ...(onTransition !== undefined && {
          inspect: tellTransitions<E>((event, value) => onTransition(of, event, value)),
        }),
      }),
    )
    actor.subscribe({ error: (error) => onError(of, error) })

    const isActive = () => actor.getSnapshot().status === 'active'

    function can(event: ActorEvent): boolean {
      if (!isActive()) return false
      try {
        return within(of, () => actor.getSnapshot().can(event as AnyEventObject))
      } catch (error) {
        // A guard's fault, which XState leaves to whoever asks.
        stop()
        onError(of, error)
        return false
      }
    }

    function takeInHand(run: () => void): void {
      isInHand = true
      try {
        within(of, run)
      } finally {
        isInHand = false
      }
    }

    function take(event: E): boolean {
      if (!can(event)) return false
      takeInHand(() => actor.send(event as unknown as AnyEventObject))
      return true
    }

    function takePending(): void {
      for (let event = pending.shift(); event !== undefined; event = pending.shift()) take(event)
    }

    function stop(): void {
      pending.length = 0
      actor.stop()
    }

    takeInHand(() => actor.start())
    takePending()

    return {
      send(event) {
        if (isInHand) {
          pending.push(event)
          return true
        }
        const taken = take(event)
        takePending()
        return taken
      },
      value: () => actor.getSnapshot().value as StateValue,
      matches: (path) => actor.getSnapshot().matches(nested(path) as never),
      legal: (types) => types.filter((type) => can({ type })),
      stop,
    }
  }

  return { create: createFor }
}

/** Hears of each step of an actor; tells those that took a transition, when their actions have run. */
function tellTransitions<E extends ActorEvent>(
  tell: (event: E | HostEvent, value: StateValue) => void,
): (step: InspectionEvent) => void {
  let isTaken = false
  return (step) => {
    if (step.type === '@xstate.microstep' && step._transitions.length > 0) isTaken = true
    if (step.type !== '@xstate.snapshot' || step.actorRef.getSnapshot().status === 'error') return
    if (isTaken || step.event.type === 'xstate.init')
      tell(step.event as unknown as E | HostEvent, (step.snapshot as unknown as { value: StateValue }).value)
    isTaken = false
  }
}

const nestedByPath = new Map<string, StateValue>()

/** `open.turn.idle` as XState's matches() wants it. Paths are written in code, so the cache is small. */
function nested(path: string): StateValue {
  let value = nestedByPath.get(path)
  if (value === undefined) {
    value = path
      .split('.')
      .reduceRight<StateValue | undefined>((inner, name) => (inner === undefined ? name : { [name]: inner }), undefined)
    nestedByPath.set(path, value as StateValue)
  }
  return value as StateValue
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]))
}
