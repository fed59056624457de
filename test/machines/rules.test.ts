import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { pino } from 'pino'
import { parseSync } from 'vite'
import { describe, expect, test, vi } from 'vitest'
import { type AnyStateMachine, StateMachine } from 'xstate'
import { loadConfig } from '../../src/config.ts'
import { createConnectionHost } from '../../src/connection/connection-behaviour.ts'
import { createLocalQueue } from '../../src/coordination/local-queue.ts'
import { withBreaker } from '../../src/model/breaker.ts'
import { createSimulatedModel } from '../../src/model/simulated-model.ts'
import { createServer } from '../../src/server.ts'
import { createWorkers } from '../../src/supervisor/worker.ts'
import { createTurnRunner } from '../../src/turn/run-turn.ts'
import { graphOf, nameOfGuard } from '../support/chart-graph.ts'
import { createFakeClock } from '../support/fake-clock.ts'

const MAX_LEVELS = 4

const hosted = vi.hoisted(() => [] as { machine: unknown; behaviour: unknown }[])
// The host itself is the real one; what it is made with is looked at on the way.
vi.mock('../../src/actor/interpreted-host.ts', async (importOriginal) => {
  const original = await importOriginal<typeof import('../../src/actor/interpreted-host.ts')>()
  const createInterpretedHost: typeof original.createInterpretedHost = (machine, behaviour, clock, options) => {
    hosted.push({ machine, behaviour })
    return original.createInterpretedHost(machine, behaviour, clock, options)
  }
  return { ...original, createInterpretedHost }
})

/** Makes every host that the server has. */
function makeHosts(): void {
  const clock = createFakeClock()
  const onError = (_: unknown, error: unknown) => expect.unreachable(String(error))
  createConnectionHost(clock)
  withBreaker(createSimulatedModel({ clock }), { clock, onError })
  createServer(loadConfig({}), { clock })
  createWorkers({
    file: '',
    clock,
    logger: pino({ level: 'silent' }),
    drainDeadlineMs: 1,
    onExit: () => {},
    onDeath: () => {},
  })
  createTurnRunner({
    clock,
    queue: createLocalQueue({ clock, concurrency: 1, limit: 1 }),
    logger: pino({ level: 'silent' }),
    maxAttempts: 1,
    backOffMs: 1,
    maxAnswerBytes: 1,
  })
}

/** A state as a machine file writes it. */
interface StateConfig {
  readonly id?: string
  readonly description?: string
  readonly entry?: unknown
  readonly exit?: unknown
  readonly on?: Readonly<Record<string, unknown>>
  readonly after?: Readonly<Record<string, unknown>>
  readonly states?: Readonly<Record<string, StateConfig>>
}
/** All that a state may have: what is not here, the compiler does not read. */
const STATE_KEYS = [
  // What setup() adds.
  'schemas',
  'id',
  'description',
  'initial',
  'type',
  'entry',
  'exit',
  'on',
  'after',
  'states',
]
const TRANSITION_KEYS = ['target', 'guard', 'actions', 'reenter']

const FILES = readdirSync(new URL('../../machines/', import.meta.url)).filter((file) => file.endsWith('.machine.ts'))

test('the charts are those of the design', () => {
  expect(FILES.map((file) => basename(file, '.machine.ts')).sort()).toEqual([
    'connection',
    'server',
    'turn',
    'upstream',
    'worker',
  ])
})

describe.each(FILES)('%s', async (file) => {
  const url = new URL(`../../machines/${file}`, import.meta.url)
  const exported: unknown[] = Object.values(await import(url.href))
  const machine = exported.find((value): value is AnyStateMachine => value instanceof StateMachine) as AnyStateMachine
  const states = [...walk(machine.config as StateConfig, basename(file, '.machine.ts'), 1)]

  test('exports one machine, with its file name as its id', () => {
    expect(exported).toHaveLength(1)
    expect(machine.config.id).toBe(basename(file, '.machine.ts'))
  })

  test('every state has a description, and is at most four levels deep', () => {
    for (const { path, state, level } of states) {
      expect(state.description, `description of ${path}`).toMatch(/\S.*\.$/)
      expect(level, path).toBeLessThanOrEqual(MAX_LEVELS)
    }
  })

  test('states and transitions have only what the compiler reads, all of it by name', () => {
    for (const { path, state } of states) {
      expect(STATE_KEYS, path).toEqual(expect.arrayContaining(Object.keys(state)))
      for (const transition of transitionsOf(state)) {
        expect(TRANSITION_KEYS, path).toEqual(expect.arrayContaining(Object.keys(transition)))
        expect(() => nameOfGuard(transition.guard), path).not.toThrow()
      }
      for (const action of actionsOf(state))
        expect(action, path).toEqual({ type: expect.any(String), ...(action.params && { params: expect.any(Object) }) })
    }
  })

  test('the source is a literal: no function, spread, computed key or name of something elsewhere', () => {
    const source = readFileSync(url, 'utf8')
    const { program, errors } = parseSync(file, source)
    expect(errors).toEqual([])
    const literals = callsOf(program as unknown as SyntaxNode, 'createMachine').map(
      ({ arguments: [literal] }) => literal,
    )
    expect(literals).toHaveLength(1)
    const faults = notLiteral(literals[0]).map(({ type, start }) => `${type} in line ${lineOf(source, start)}`)
    expect(faults).toEqual([])
  })

  test('every guard, action and delay that is declared is used, and every one that is used is declared', () => {
    const { guards, actions, delays } = machine.implementations
    expect(namesUsed(states)).toEqual({
      guards: Object.keys(guards).sort(),
      actions: Object.keys(actions).sort(),
      delays: Object.keys(delays).sort(),
    })
  })

  test('its behaviour implements every name, and no other', () => {
    makeHosts()
    const [made] = hosted.filter((host) => host.machine === machine)
    const { guards, actions, delays } = machine.implementations
    const sorted = (record: object) => Object.keys(record).sort()
    expect(made?.behaviour).toBeDefined()
    const behaviour = made?.behaviour as Record<'guards' | 'actions' | 'delays', object>
    expect([sorted(behaviour.guards), sorted(behaviour.actions), sorted(behaviour.delays)]).toEqual([
      sorted(guards),
      sorted(actions),
      sorted(delays),
    ])
  })

  test('no state is out of reach', () => {
    const { activeIds } = graphOf(machine)
    expect([...activeIds].sort()).toEqual(idsOf(machine.root).sort())
  })
})

interface Place {
  readonly path: string
  readonly state: StateConfig
  readonly level: number
}

function* walk(state: StateConfig, path: string, level: number): Generator<Place> {
  yield { path, state, level }
  for (const [name, child] of Object.entries(state.states ?? {})) yield* walk(child, `${path}.${name}`, level + 1)
}

function idsOf(node: AnyStateMachine['root']): string[] {
  return [node.id, ...Object.values(node.states).flatMap(idsOf)]
}

interface TransitionConfig {
  readonly guard?: unknown
  readonly actions?: unknown
}

function transitionsOf({ on = {}, after = {} }: StateConfig): TransitionConfig[] {
  return [...Object.values(on), ...Object.values(after)].flatMap(listOf) as TransitionConfig[]
}

/** A state's actions, those of its transitions included, as objects. */
function actionsOf(state: StateConfig): { type: string; params?: object }[] {
  const written = [state.entry, state.exit, ...transitionsOf(state).map(({ actions }) => actions)].flatMap(listOf)
  return written.map((action) => (typeof action === 'string' ? { type: action } : action)) as { type: string }[]
}

function listOf(value: unknown): unknown[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value]
}

function namesUsed(states: readonly Place[]): Record<'guards' | 'actions' | 'delays', string[]> {
  const sorted = (names: readonly string[]) => [...new Set(names)].sort()
  const all = states.map(({ state }) => state)
  return {
    guards: sorted(all.flatMap(transitionsOf).flatMap(({ guard }) => nameOfGuard(guard) ?? [])),
    actions: sorted(all.flatMap(actionsOf).map(({ type }) => type)),
    delays: sorted(all.flatMap(({ after = {} }) => Object.keys(after))),
  }
}

/** A node of the syntax tree; `start` is its place in the source. */
interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly [field: string]: unknown
}
type Call = SyntaxNode & { readonly arguments: readonly SyntaxNode[] }

const isNode = (value: unknown): value is SyntaxNode => typeof value === 'object' && value !== null && 'type' in value

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  return Object.values(node).flat().filter(isNode)
}

function callsOf(node: SyntaxNode, method: string): Call[] {
  const { callee } = node
  const property = isNode(callee) ? callee.property : undefined
  const own = node.type === 'CallExpression' && isNode(property) && property.name === method ? [node as Call] : []
  return [...own, ...childrenOf(node).flatMap((child) => callsOf(child, method))]
}

/** The nodes within a value that are no literal of objects, arrays, texts, numbers and truth values. */
function notLiteral(node: SyntaxNode | undefined): SyntaxNode[] {
  if (node === undefined || node.type === 'Literal') return []
  if (node.type === 'ArrayExpression') return childrenOf(node).flatMap(notLiteral)
  if (node.type !== 'ObjectExpression') return [node]
  return childrenOf(node).flatMap((property) => {
    const { computed, kind, method, shorthand, value } = property
    const isPlain = property.type === 'Property' && kind === 'init' && !computed && !method && !shorthand
    return isPlain && isNode(value) ? notLiteral(value) : [property]
  })
}

function lineOf(source: string, offset: number): number {
  return source.slice(0, offset).split('\n').length
}
