import type { Position } from '../protocol/position.ts'
import type { Head, ReadLimit } from './channel-log.ts'

/** What a page is made of. `foldedFrom` is the first offset of the folded turn whose last chunk was here or later. */
export interface PageRow {
  readonly offset: number
  readonly text: string
  readonly foldedFrom: number | undefined
}

/** Whether a position is one of this log, as far as its head tells. Folded turns are {@link takePage}'s to know. */
export function isWithin(head: Head, after: Position): boolean {
  return after.offset === 0 || (after.epoch === head.epoch && after.offset <= head.offset)
}

/**
 * The first page of the rows after an offset; undefined where that offset is inside a folded turn. A page never ends
 * inside one, whatever the limit: the position to go on from would not be honoured.
 */
export function takePage<R extends PageRow>(rows: Iterable<R>, after: number, limit: ReadLimit): R[] | undefined {
  const page: R[] = []
  let bytes = 0
  let last = after
  for (const row of rows) {
    const inside = row.foldedFrom !== undefined && row.foldedFrom <= last
    if (page.length === 0 && inside) return undefined
    bytes += row.text.length
    if (page.length > 0 && !inside && (page.length >= limit.records || bytes > limit.bytes)) break
    page.push(row)
    last = row.offset
  }
  return page
}
