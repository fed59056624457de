import type { AnyMachineSnapshot, AnyStateMachine } from 'xstate'
import { adjacencyMapToArray, getAdjacencyMap, getShortestPaths } from 'xstate/graph'
import type { StateValue } from '../../src/actor/actor-host.ts'

/** What moves a chart once: an event (`xstate.after.…` for a timer), and what its guards answer. */
export interface Step {
  readonly type: string
  readonly answers: Readonly<Record<string, boolean>>
}

/** One edge of a whole chart: a state, a step, and where it leads. */
export interface Edge {
  /** A shortest way from the start to `from`. */
  readonly path: readonly PathStep[]
  readonly from: StateValue
  readonly step: Step
  /** Whether the chart has a transition for the step; without one, `to` is `from`. */
  readonly isTaken: boolean
  readonly to: StateValue
}

export interface PathStep {
  readonly step: Step
  readonly to: StateValue
}

/** What `xstate/graph` reaches of a chart: the product of its regions. */
export interface Graph {
  readonly states: readonly StateValue[]
  readonly edges: readonly Edge[]
  /** Of every state node that is ever active. */
  readonly activeIds: ReadonlySet<string>
  /** Event types that can be sent: all but timers. */
  readonly eventTypes: readonly string[]
}

/**
 * Every state and every edge that `xstate/graph` reaches. Its own lists of events leave out timers, and carry no guard
 * outcomes: each event is given once for each combination of what the guards in its way may answer.
 */
export function graphOf(machine: AnyStateMachine): Graph {
  const answered = machine.provide({
    guards: Object.fromEntries(
      Object.keys(machine.implementations.guards).map((name) => [
        name,
        ({ event }: { event: Partial<Step> }) => event.answers?.[name] === true,
      ]),
    ),
  })
  const options = {
    events: (state: AnyMachineSnapshot) => stepsAt(state),
    serializeState: (state: AnyMachineSnapshot) => JSON.stringify(state.value),
  }
  const paths = new Map<string, PathStep[]>()
  const states: StateValue[] = []
  const activeIds = new Set<string>()
  for (const { state, steps } of getShortestPaths(answered, options)) {
    // The first step is the start itself; a step's state is the one that it led to.
    const taken = steps.slice(1).map(({ event, state: to }) => ({ step: toStep(event), to: to.value }))
    paths.set(JSON.stringify(state.value), taken)
    states.push(state.value)
    for (const node of state._nodes) activeIds.add(node.id)
  }
  const edges = adjacencyMapToArray(getAdjacencyMap(answered, options)).map(({ state, event, nextState }) => ({
    path: paths.get(JSON.stringify(state.value)) ?? [],
    from: state.value,
    step: toStep(event),
    isTaken: state.can(event),
    to: nextState.value,
  }))
  const eventTypes = [...new Set(edges.map(({ step }) => step.type))].filter(
    (type) => !type.startsWith('xstate.after.'),
  )
  return { states, edges, activeIds, eventTypes }
}

/** Every step that the active states have a transition for, guards aside. */
function stepsAt(state: AnyMachineSnapshot): Step[] {
  // A final state may lie below transitions of its ancestors, which nothing can take any more.
  if (state.status !== 'active') return []
  const nodes: AnyStateMachine['root'][] = state._nodes
  const types = new Set<string>(nodes.flatMap((node) => node.ownEvents))
  return [...types].flatMap((type) => {
    const guards = nodes.flatMap((node) =>
      (node.transitions.get(type) ?? []).flatMap(({ guard }) => nameOfGuard(guard) ?? []),
    )
    return outcomes([...new Set(guards)]).map((answers) => ({ type, answers }))
  })
}

/** The name of a guard as a machine file refers to it. */
export function nameOfGuard(guard: unknown): string | undefined {
  if (guard === undefined || typeof guard === 'string') return guard
  if (typeof guard === 'object' && guard !== null && 'type' in guard && typeof guard.type === 'string')
    return guard.type
  throw new Error('a guard without a name')
}

function outcomes(guards: readonly string[]): Record<string, boolean>[] {
  return guards.reduce<Record<string, boolean>[]>(
    (known, guard) => known.flatMap((answers) => [true, false].map((answer) => ({ ...answers, [guard]: answer }))),
    [{}],
  )
}

function toStep(event: { type: string; answers?: Record<string, boolean> }): Step {
  return { type: event.type, answers: event.answers ?? {} }
}

/** A step in words, such as `stop [isChat: false]`. */
export function stepInWords({ type, answers }: Step): string {
  const said = Object.entries(answers).map(([guard, answer]) => `${guard}: ${answer}`)
  return said.length === 0 ? type : `${type} [${said.join(', ')}]`
}
