import type { z } from 'zod'
import { VARIABLES } from '../config-variables.ts'
import { clientFrameSchema } from '../protocol/client-frame.ts'
import { CLOSES } from '../protocol/close-codes.ts'
import { entrySchema, isHidden } from '../protocol/entry.ts'
import { ERRORS } from '../protocol/errors.ts'
import { unloggedFrameSchema } from '../protocol/server-frame.ts'
import { describeType, type JsonSchema, jsonSchema } from './describe-type.ts'

/** The generated parts of the documents, in Markdown, by file (from the package's root) and by the name in their markers. */
export function documentParts(): Readonly<Record<string, Readonly<Record<string, string>>>> {
  return {
    'README.md': { configuration: configuration() },
    'src/protocol/SPEC.md': {
      'client frames': clientFrames(),
      'server frames': serverFrames(),
      errors: errors(),
      closes: closes(),
    },
  }
}

function configuration(): string {
  const rows = Object.entries(VARIABLES).map(([name, { what, takes, fallback, fallbackText }]) => {
    const byDefault = fallbackText ?? (fallback === undefined || fallback === '' ? 'unset' : `\`${fallback}\``)
    return [`\`${name}\``, byDefault, takes, what]
  })
  return table(['variable', 'default', 'takes', 'what it is'], rows)
}

function clientFrames(): string {
  const rows = clientFrameSchema.options.map((option) => [frameName(option), fields(option)])
  return table(['client frame', 'fields'], rows)
}

function serverFrames(): string {
  const rows = unloggedFrameSchema.options.map((option) => [frameName(option), 'no', fields(option)])
  for (const option of entrySchema.options) {
    if (!isHidden({ type: option.shape.type.value })) rows.push([frameName(option), 'yes', fields(option)])
  }
  return table(['server frame', 'in the log, so with `offset`', 'fields'], rows)
}

function errors(): string {
  const rows = Object.entries(ERRORS).map(([code, { content, when }]) => [`\`${code}\``, when, content])
  return table(['error code', 'when', 'sentence for people'], rows)
}

function closes(): string {
  const rows = Object.values(CLOSES).map(({ code, reason, again, when }) => {
    return [String(code), reason, when, again ? 'yes' : 'no']
  })
  return table(['close code', 'reason', 'when', 'reconnect by itself'], rows)
}

function frameName(option: { shape: { type: z.ZodLiteral<string> } }): string {
  return `\`${option.shape.type.value}\``
}

function fields(option: z.ZodType): string {
  const { properties = {}, required = [] } = jsonSchema(option)
  const own = Object.entries(properties).filter(([name]) => name !== 'type' && name !== 'fair_key')
  return own.map(([name, schema]) => field(name, schema, required.includes(name))).join(', ')
}

function field(name: string, schema: JsonSchema, isRequired: boolean): string {
  return `\`${name}${isRequired ? '' : '?'}\` ${describeType(schema)}`
}

/** Cells are padded, so that the table can be read in the source, too. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')))
  const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => row[column]?.length ?? 0)))
  const lines = cells.map((row) => line(row.map((cell, column) => cell.padEnd(widths[column] ?? 0))))
  lines.splice(1, 0, line(widths.map((width) => '-'.repeat(width))))
  return lines.join('\n')
}

const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
