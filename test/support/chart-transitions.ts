import type { AnyStateMachine } from 'xstate'
import { nameOfGuard } from './chart-graph.ts'

/** One transition as a machine file writes it; or, with the outcome `none`, that no candidate's guard lets an event through. */
export interface Transition {
  /** Such as `open.rate.allowed: rate.exceeded [isAbusive]`. Timers are told as `after heartbeatInterval`. */
  readonly key: string
  /** The path of the state that has it. */
  readonly source: string
  /** The event as the host tells it. */
  readonly type: string
  /** The guard that must say yes, and those of the candidates before it, which must have said no. */
  readonly guard: string | undefined
  readonly refusing: readonly string[]
  /** The path that it leads to; undefined where the state stays. */
  readonly target: string | undefined
  /** No candidate lets the event through. */
  readonly isRefused: boolean
}

/** Every transition of a machine, read from it, so that a new one is in the list by itself. */
export function transitionsOf(machine: AnyStateMachine): Transition[] {
  return nodesOf(machine.root).flatMap((node) =>
    [...node.transitions].flatMap(([type, candidates]) => {
      const source = node.path.join('.')
      const guards = candidates.map(({ guard }) => nameOfGuard(guard))
      const event = type.replace(/^xstate\.after\.([^.]+)\..*$/, 'after $1')
      const found = candidates.map(({ target }, index): Transition => {
        const guard = guards[index]
        const refusing = guards.slice(0, index).filter((name) => name !== undefined)
        const outcome = guard ?? (refusing.length > 0 ? 'else' : undefined)
        return {
          key: `${source}: ${event}${outcome === undefined ? '' : ` [${outcome}]`}`,
          source,
          type,
          guard,
          refusing,
          target: target?.[0]?.path.join('.'),
          isRefused: false,
        }
      })
      if (guards.at(-1) === undefined) return found
      const refusing = guards.filter((name) => name !== undefined)
      const key = `${source}: ${event} [none]`
      return [...found, { key, source, type, guard: undefined, refusing, target: undefined, isRefused: true }]
    }),
  )
}

function nodesOf(node: AnyStateMachine['root']): AnyStateMachine['root'][] {
  return [node, ...Object.values(node.states).flatMap(nodesOf)]
}
