import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { z } from 'zod'
import { withParts } from '../../../src/docs/generated-parts.ts'
import { table } from '../../../src/docs/tables.ts'
import type { Verdict } from './evidence.ts'
import { isLong, seed } from './fault-run.ts'

/** The rows of the table in docs/reliability.md, in its order. */
const SCENARIOS = [
  'node killed (-9) in mid-answer',
  'node frozen beyond its lease, then woken',
  'rolling restart of all nodes',
  '10000 clients come back at once',
  'clients cut at every frame',
  'Redis killed, restarted with its AOF',
  'Redis restarted empty',
  'Redis frozen for a while',
  "Redis's replies swallowed by the network",
  'pub/sub connections cut or gone deaf',
  'Sentinel failover, REDIS_WAIT_REPLICAS=0',
  'Sentinel failover, REDIS_WAIT_REPLICAS=1',
  'one Cluster master of three killed',
  'faults of all kinds at random',
] as const
/** A row of the table. */
export type Scenario = (typeof SCENARIOS)[number]

/** What a scenario came to, beside what its checker found. */
export interface Outcome {
  readonly scenario: Scenario
  readonly streams: number
  readonly faults: number
  /** How many answers the faults struck in the middle; undefined where that is not what they strike. */
  readonly midAnswer: number | undefined
  /** Connections that clients made. */
  readonly connections: number
  readonly verdict: Pick<Verdict, 'lost' | 'twice' | 'wrongOwner'> & { readonly compared: number }
  /** In ms. */
  readonly recoveries: readonly number[]
  readonly notes: string
}

const DOCUMENT = fileURLToPath(new URL('../../../docs/reliability.md', import.meta.url))
const HEAD = [
  'scenario',
  'streams',
  'faults',
  'in mid-answer',
  'connections',
  'compared',
  'lost',
  'twice',
  'wrong owner',
  'recovery p50 / p99 / max',
  'notes',
]
const rowSchema = z.array(z.string()).length(HEAD.length)
/** The most findings that an error shows. */
const SHOWN = 5
/** What is kept of a run, by all its processes: the rows so far, and the evidence of what failed. */
const FOLDER = join(tmpdir(), `statewire-faults-${process.env.STATEWIRE_FAULT_RUN}`)

/** Prints a scenario's row, and throws where the checker found something. A long run of all scenarios writes the table. */
export function report(outcome: Outcome): void {
  const { scenario, streams, faults, midAnswer, connections, verdict, recoveries, notes } = outcome
  const { lost, twice, wrongOwner, compared } = verdict
  const found = [lost.length, twice.length, wrongOwner.length]
  const counts = [streams, faults, midAnswer ?? '-', connections, compared, ...found]
  const row = [scenario, ...counts, times(recoveries), notes].map(String)
  console.log(`${row.join(' | ')} (STATEWIRE_FAULT_SEED=${seed})`)
  const shown = [lost, twice, wrongOwner].map((list) => list.slice(0, SHOWN))
  expect(shown, 'lost, twice, wrong owner').toEqual([[], [], []])
  expect(compared).toBeGreaterThan(0)
  if (isLong) addRow(scenario, row)
}

/** Keeps what a failed scenario was judged by, to be looked into. */
export function keep(scenario: Scenario, evidence: unknown): void {
  const plain = (_: string, value: unknown) => (value instanceof Map || value instanceof Set ? [...value] : value)
  mkdirSync(FOLDER, { recursive: true })
  const file = join(FOLDER, `${scenario.replace(/[^\w]+/g, '-')}.json`)
  writeFileSync(file, JSON.stringify(evidence, plain))
  console.log(`the evidence is in ${file}`)
}

/** The value below which so many of all are. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

function times(recoveries: readonly number[]): string {
  if (recoveries.length === 0) return '-'
  const [p50, p99, max] = [0.5, 0.99, 1].map((part) => `${(quantile(recoveries, part) / 1000).toFixed(2)} s`)
  return `${p50} / ${p99} / ${max}`
}

/** The table is that of one run: it is written when all its rows are there. */
function addRow(scenario: Scenario, row: readonly string[]): void {
  mkdirSync(FOLDER, { recursive: true })
  const fileOf = (name: Scenario) => join(FOLDER, `row-${SCENARIOS.indexOf(name)}.json`)
  writeFileSync(fileOf(scenario), JSON.stringify(row))
  if (!SCENARIOS.every((name) => existsSync(fileOf(name)))) return
  const rows = SCENARIOS.map((name) => rowSchema.parse(JSON.parse(readFileSync(fileOf(name), 'utf8'))))
  const document = readFileSync(DOCUMENT, 'utf8')
  writeFileSync(DOCUMENT, withParts(document, { results: table(HEAD, rows), machine: machine() }))
}

function machine(): string {
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'}), ${memory} GB, Node.js ${process.version}; everything on it: nodes, Redis, upstream and clients. All rows are of one run, with \`STATEWIRE_FAULT_SEED=${seed}\`.`
}
