import type { DatabaseSync } from 'node:sqlite'
import { isWithin, takePage } from './read-page.ts'
import { headOf, type StoredChannels } from './sqlite-channels.ts'
import type { StoredRecord, StoreRequestOf, StoreResults } from './sqlite-requests.ts'
import { numberOf, optionalNumberOf, type SqliteRow, textOf } from './sqlite-row.ts'

/** A row of `entries` as a record. */
export function toStoredRecord(row: SqliteRow): StoredRecord {
  return {
    offset: numberOf(row, 'offset'),
    text: textOf(row, 'text'),
    time: numberOf(row, 'time'),
    foldedFrom: optionalNumberOf(row, 'folded_from'),
  }
}

/** Prepares the statements of reading a channel. */
export function createSqliteRead(
  database: DatabaseSync,
  channels: StoredChannels,
): (request: StoreRequestOf<'read'>) => StoreResults['read'] {
  const selectAfter = database.prepare(
    'SELECT offset, time, text, folded_from FROM entries WHERE channel = ? AND offset > ? ORDER BY offset',
  )

  function* rowsAfter(channelId: number, offset: number): Generator<StoredRecord> {
    for (const row of selectAfter.iterate(channelId, offset)) yield toStoredRecord(row)
  }

  return ({ key, after, limit }) => {
    const channel = channels.get(key)
    const head = headOf(channel)
    if (!isWithin(head, after)) return { head, records: undefined }
    if (channel === undefined) return { head, records: [] }
    return { head, records: takePage(rowsAfter(channel.id, after.offset), after.offset, limit) }
  }
}
