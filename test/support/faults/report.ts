import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { withParts } from '../../../src/docs/generated-parts.ts'
import { table } from '../../../src/docs/tables.ts'
import type { Verdict } from './evidence.ts'
import { isLong, seed } from './fault-run.ts'

/** What a scenario came to, beside what its checker found. */
export interface Outcome {
  /** As the table in docs/reliability.md names it. */
  readonly scenario: string
  readonly streams: number
  readonly faults: number
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
  'connections',
  'compared',
  'lost',
  'twice',
  'wrong owner',
  'recovery p50 / p99 / max',
  'notes',
]
/** The most findings that an error shows. */
const SHOWN = 5

/** Prints a scenario's row; a long run writes it into docs/reliability.md. Throws where the checker found something. */
export function report(outcome: Outcome): void {
  const { scenario, streams, faults, connections, verdict, recoveries, notes } = outcome
  const { lost, twice, wrongOwner, compared } = verdict
  const found = [lost.length, twice.length, wrongOwner.length]
  const row = [scenario, streams, faults, connections, compared, ...found, times(recoveries), notes].map(String)
  console.log(`${row.join(' | ')} (STATEWIRE_FAULT_SEED=${seed})`)
  const shown = [lost, twice, wrongOwner].map((list) => list.slice(0, SHOWN))
  expect(shown, 'lost, twice, wrong owner').toEqual([[], [], []])
  if (isLong) writeRow(row)
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

/** Rows stand in the order of their letters; the one of this scenario is replaced. */
function writeRow(row: readonly string[]): void {
  const document = readFileSync(DOCUMENT, 'utf8')
  const written = /<!-- generated: results -->([\s\S]*?)<!-- end of generated -->/.exec(document)?.[1] ?? ''
  const rows = new Map<string, readonly string[]>()
  for (const line of written.split('\n').slice(4)) {
    const cells = line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').trim())
    if (cells.length === HEAD.length && cells[0] !== undefined) rows.set(cells[0], cells)
  }
  rows.set(row[0] ?? '', row)
  const sorted = [...rows.values()].sort((one, other) => String(one[0]).localeCompare(String(other[0])))
  writeFileSync(DOCUMENT, withParts(document, { results: table(HEAD, sorted), machine: machine() }))
}

function machine(): string {
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'}), ${memory} GB, Node.js ${process.version}; everything on it: nodes, Redis, upstream and clients.`
}
