import { type Entry, entrySchema } from '../protocol/entry.ts'
import type { LogRecord } from './channel-log.ts'

/** Reads an entry's stored text; undefined where that is no entry, whatever the reason: the text is nobody's to quote. */
export function parseEntry(text: string): Entry | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return entrySchema.safeParse(value).data
}

/** The record that was heard of with its text; undefined where that is missing or damaged. */
export function recordOf(offset: number, heard: Pick<LogRecord, 'text' | 'time'> | undefined): LogRecord | undefined {
  const entry = heard === undefined ? undefined : parseEntry(heard.text)
  return heard === undefined || entry === undefined ? undefined : { offset, entry, text: heard.text, time: heard.time }
}
