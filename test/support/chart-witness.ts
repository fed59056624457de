import { isDeepStrictEqual } from 'node:util'
import { connectionMachine } from '../../machines/connection.machine.ts'
import type { StateValue } from '../../src/actor/actor-host.ts'
import type { Connection } from '../../src/connection/connection.ts'
import { connectionBehaviour } from '../../src/connection/connection-behaviour.ts'
import type { OnTransition } from '../../src/connection/on-transition.ts'
import { type Transition, transitionsOf } from './chart-transitions.ts'
import type { Client, Frame } from './client.ts'

/** Every transition of the connection chart, and every event that its guards may refuse, by key. */
export const TRANSITIONS: ReadonlyMap<string, Transition> = new Map(
  transitionsOf(connectionMachine).map((transition) => [transition.key, transition]),
)

/** Sees which transitions the connections of a server take. */
export interface Witness {
  readonly onTransition: OnTransition
  /** The keys of all that was seen so far. */
  readonly seen: ReadonlySet<string>
  /** What a connection did that no transition of the chart explains. */
  readonly unexplained: readonly string[]
  /** Resolves when a transition has been seen, at any time so far. */
  until(key: string): Promise<void>
  /** Sends a frame that the chart is to refuse where `key` says so: it must answer `illegal`, and stay where it is. */
  refuses(client: Client, key: string, frame: Frame): Promise<void>
}

export function createWitness(): Witness {
  const values = new Map<Connection, StateValue>()
  const seen = new Set<string>()
  const unexplained: string[] = []
  const waiting = new Set<() => void>()

  /** Guards are asked again right after the step: none of them looks at anything that its own transition changes. */
  function explains(transition: Transition, connection: Connection, type: string, to: StateValue): boolean {
    const { source, guard, refusing, target } = transition
    const from = values.get(connection) ?? ''
    if (transition.isRefused || transition.type !== type || !isWithin(from, source)) return false
    if (target === undefined ? !isDeepStrictEqual(from, to) : !isWithin(to, target)) return false
    return (guard === undefined || isTrue(guard, connection)) && !refusing.some((name) => isTrue(name, connection))
  }

  return {
    seen,
    unexplained,
    onTransition(connection, { type }, to) {
      const found = [...TRANSITIONS.values()].filter((transition) => explains(transition, connection, type, to))
      if (type !== 'xstate.init' && found.length !== 1)
        unexplained.push(`${type}: ${JSON.stringify([values.get(connection), to])} by ${found.length} transitions`)
      values.set(connection, to)
      for (const { key } of found) seen.add(key)
      for (const look of waiting) look()
    },
    until(key) {
      if (!TRANSITIONS.has(key)) throw new Error(`the chart has no ${key}`)
      return new Promise((resolve) => {
        const look = () => {
          if (!seen.has(key)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      })
    },
    async refuses(client, key, frame) {
      const transition = TRANSITIONS.get(key)
      const welcome = client.frames.find(({ type }) => type === 'welcome')
      const connection =
        [...values.keys()].find(({ client_id }) => client_id === welcome?.connection_id) ?? only(values)
      const before = values.get(connection) ?? ''
      if (transition === undefined || !isWithin(before, transition.source) || frame.type !== transition.type)
        throw new Error(`${frame.type} in ${JSON.stringify(before)} is not ${key}`)
      client.send(frame)
      const { legal } = await client.next('error', ({ code }) => code === 'illegal')
      if (!Array.isArray(legal) || legal.includes(frame.type)) throw new Error(`${frame.type} is said to be legal`)
      if (!isDeepStrictEqual(values.get(connection), before)) throw new Error(`${frame.type} was refused and taken`)
      seen.add(key)
    },
  }
}

function isTrue(guard: string, connection: Connection): boolean {
  const guards: Readonly<Record<string, (connection: Connection) => boolean>> = connectionBehaviour.guards as never
  return guards[guard]?.(connection) === true
}

/** On `/ws` nothing tells a client its connection's id: it must be the only one. */
function only(values: ReadonlyMap<Connection, StateValue>): Connection {
  const [connection, ...others] = values.keys()
  if (connection === undefined || others.length > 0) throw new Error('several connections, and no welcome')
  return connection
}

function isWithin(value: StateValue, path: string): boolean {
  const [first = '', ...rest] = path.split('.')
  if (typeof value === 'string') return value === first && rest.length === 0
  const inner = value[first]
  return inner !== undefined && (rest.length === 0 || isWithin(inner, rest.join('.')))
}
