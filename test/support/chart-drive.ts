import { expect } from 'vitest'
import type { Actor, ActorEvent, ActorHost, Behaviour } from '../../src/actor/actor-host.ts'
import { TICK_MS } from '../../src/actor/timer-wheel.ts'
import type { CountingClock } from './chart-clock.ts'
import { type Edge, type Graph, type Step, stepInWords } from './chart-graph.ts'

/** Beyond any path: a timer that is not to fire. */
const NEVER_MS = 1_000_000_000

/**
 * The steps that an actor is to take, and which of them is in hand. Each step by timer takes a tick of the clock; the
 * timers' delays are what makes them fire in the steps that they belong to, and the others never.
 */
export interface Plan {
  readonly steps: readonly Step[]
  /** Index of the step in hand; -1 is the start. */
  at: number
}

/** What a delay must answer when its state is entered by the step in hand. In ms. */
export function plannedDelay(plan: Plan, delay: string): number {
  let ticks = 0
  for (const { type } of plan.steps.slice(plan.at + 1)) {
    if (!type.startsWith('xstate.after.')) continue
    ticks++
    if (type.startsWith(`xstate.after.${delay}.`)) return ticks * TICK_MS
  }
  return NEVER_MS
}

/**
 * Drives an actor along an edge, and compares what the chart answered and where it led. The steps to the edge's
 * beginning are edges too, each compared as such when it is driven itself; here the state that they led to is.
 */
export function driveEdge<E extends ActorEvent>(
  edge: Edge,
  clock: CountingClock,
  create: (plan: Plan) => Actor<E>,
  /** Brings about what the guards are to answer in the step in hand. */
  prepare: (plan: Plan, step: Step) => void = () => {},
): void {
  const plan: Plan = { steps: [...edge.path.map(({ step }) => step), edge.step], at: -1 }
  const actor = create(plan)
  for (const [index, step] of plan.steps.entries()) {
    plan.at = index
    const isLast = index === edge.path.length
    const inWords = isLast ? `after ${plan.steps.map(stepInWords).join(', ')}` : ''
    prepare(plan, step)
    if (isLast) expect(actor.value(), `before the last step ${inWords}`).toEqual(edge.from)
    if (step.type.startsWith('xstate.after.')) {
      clock.advance(TICK_MS)
    } else {
      // A step of the graph is an event of the chart: its type is all that the chart looks at.
      const event = { type: step.type } as E
      if (isLast) expect(actor.legal([event.type]), inWords).toEqual(edge.isTaken ? [event.type] : [])
      const isTaken = actor.send(event)
      if (isLast) expect(isTaken, inWords).toBe(edge.isTaken)
    }
    if (isLast) expect(actor.value(), inWords).toEqual(edge.to)
  }
  actor.stop()
  expect(clock.pending).toBe(0)
}

/** Delays that answer what a subject's plan needs. */
export function plannedDelays<S, N extends string>(
  planOf: (subject: S) => Plan,
  names: Readonly<Record<N, unknown>>,
): Record<N, (subject: S) => number> {
  return each(names, (name) => (subject) => plannedDelay(planOf(subject), name))
}

/** A behaviour for any chart that does nothing, and whose guards and delays answer what the plan needs. */
export function plannedBehaviour(
  names: Record<'actions' | 'guards' | 'delays', Record<string, unknown>>,
): Behaviour<Plan, ActorEvent> {
  return {
    actions: each(names.actions, () => () => {}),
    guards: each(names.guards, (name) => (plan: Plan) => plan.steps[plan.at]?.answers[name] === true),
    delays: plannedDelays((plan: Plan) => plan, names.delays),
  }
}

function each<N extends string, T>(record: Readonly<Record<N, unknown>>, make: (name: N) => T): Record<N, T> {
  return Object.fromEntries(Object.keys(record).map((name) => [name, make(name as N)])) as Record<N, T>
}

/** Drives every edge of a graph, each by an actor of its own; and, in every state, what the chart has no transition for. */
export function driveGraph(graph: Graph, clock: CountingClock, host: ActorHost<Plan, ActorEvent>): void {
  for (const edge of [...graph.edges, ...refusedOf(graph)]) driveEdge(edge, clock, (plan) => host.create(plan))
}

/** One edge for each state and event type that the state has no transition for at all. */
export function refusedOf({ states, edges, eventTypes }: Graph): Edge[] {
  return states.flatMap((state) => {
    const from = edges.filter((edge) => JSON.stringify(edge.from) === JSON.stringify(state))
    const [known] = from
    const path = known?.path ?? pathTo(edges, state)
    const own = new Set(from.map((edge) => edge.step.type))
    return eventTypes
      .filter((type) => !own.has(type))
      .map((type) => ({ path, from: state, to: state, isTaken: false, step: { type, answers: {} } }))
  })
}

/** To a final state, which no edge begins in. */
function pathTo(edges: readonly Edge[], state: unknown): Edge['path'] {
  const last = edges.find((edge) => edge.isTaken && JSON.stringify(edge.to) === JSON.stringify(state))
  if (last === undefined) throw new Error(`nothing leads to ${JSON.stringify(state)}`)
  return [...last.path, { step: last.step, to: last.to }]
}
