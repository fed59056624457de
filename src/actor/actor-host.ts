/**
 * The port between a chart and whatever runs it. A host runs one machine for many subjects (a connection, a turn, an
 * endpoint); the machine's named actions, guards and delays are implemented once, for all of them.
 */

/** The state of a chart: a state's name, or its regions and children by name. */
export type StateValue = string | { readonly [region: string]: StateValue }

/** What every event has. */
export interface ActorEvent {
  readonly type: string
}

/** The implementations of a machine's names, over a subject `S` and events `E`. Guards and delays have no effects. */
export interface Behaviour<S, E extends ActorEvent> {
  readonly actions: Readonly<Record<string, (subject: S, event: E, params: never) => void>>
  readonly guards: Readonly<Record<string, (subject: S, event: E) => boolean>>
  /** In ms. */
  readonly delays: Readonly<Record<string, (subject: S) => number>>
}

/** One running chart. */
export interface Actor<E extends ActorEvent> {
  /**
   * Gives the chart an event; answers whether it has a transition for it now. An event sent from within an action is
   * taken after the one in hand, and answers true. A stopped or finished actor takes nothing.
   */
  send(event: E): boolean
  value(): StateValue
  /** Whether the chart is in a state, named by its path, such as `open.turn.streaming`. */
  matches(path: string): boolean
  /** Which of these event types the chart has a transition for now. */
  legal<T extends string>(types: readonly T[]): T[]
  /** Ends the actor without running exit actions or timers. */
  stop(): void
}

/** What moves a chart beside the events that it is sent: its start, and a timer of a state. Named as XState names them. */
export interface HostEvent {
  readonly type: 'xstate.init' | `xstate.after.${string}`
}

/** What a host tells whoever made it. */
export interface HostOptions<S, E extends ActorEvent> {
  /** After the start and each event or timer that the chart took: what it was, and the state it led to. */
  readonly onTransition?: (subject: S, event: E | HostEvent, value: StateValue) => void
  /** An action, guard or delay threw. That actor is stopped; the others go on. */
  readonly onError: (subject: S, error: unknown) => void
}

/** Runs one machine. */
export interface ActorHost<S, E extends ActorEvent> {
  /** Starts an actor: its entry actions have run when this returns. */
  create(subject: S): Actor<E>
}
