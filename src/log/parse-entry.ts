import { type Entry, entrySchema } from '../protocol/entry.ts'

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
