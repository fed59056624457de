import type { DatabaseSync } from 'node:sqlite'
import type { StoredChannels } from './sqlite-channels.ts'
import type { StoreRequestOf, StoreResults } from './sqlite-requests.ts'
import { numberOf, textOf } from './sqlite-row.ts'

/** How much one slice looks through or deletes: a few ms each. */
const SCANNED_CHANNELS = 2_000
const DELETED_ROWS = 1_000

/** Expiry in three steps: who may go, who goes (their keys are free at once), and the deletion of what they left. */
export interface SqliteExpire {
  expirable(request: StoreRequestOf<'expirable'>): StoreResults['expirable']
  forget(request: StoreRequestOf<'forget'>): StoreResults['forget']
  sweep(): StoreResults['sweep']
}

/** Prepares the statements of expiry. */
export function createSqliteExpire(database: DatabaseSync, channels: StoredChannels): SqliteExpire {
  const selectScan = database.prepare(
    `SELECT id, key, time, open FROM channels WHERE id > ? ORDER BY id LIMIT ${SCANNED_CHANNELS}`,
  )
  const selectLast = database.prepare('SELECT time FROM entries WHERE channel = ? ORDER BY offset DESC LIMIT 1')
  const touch = database.prepare('UPDATE channels SET time = ? WHERE id = ?')
  const deleteChannel = database.prepare('DELETE FROM channels WHERE id = ?')
  const insertForgotten = database.prepare('INSERT INTO forgotten (channel) VALUES (?)')
  const selectForgotten = database.prepare('SELECT channel FROM forgotten LIMIT 1')
  const deleteForgotten = database.prepare('DELETE FROM forgotten WHERE channel = ?')
  const deleteEntries = database.prepare(
    `DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE channel = ? LIMIT ${DELETED_ROWS})`,
  )
  const deleteWritten = database.prepare(
    `DELETE FROM written WHERE channel = ?1 AND (producer, sequence) IN
     (SELECT producer, sequence FROM written WHERE channel = ?1 LIMIT ${DELETED_ROWS})`,
  )

  return {
    expirable({ appendedBefore, afterId }) {
      const keys: string[] = []
      const rows = selectScan.all(afterId)
      for (const row of rows) {
        if (numberOf(row, 'open') > 0 || numberOf(row, 'time') >= appendedBefore) continue
        const id = numberOf(row, 'id')
        const last = numberOf(selectLast.get(id) ?? {}, 'time')
        if (last < appendedBefore) keys.push(textOf(row, 'key'))
        else touch.run(last, id)
      }
      const lastRow = rows.at(-1)
      const next = rows.length === SCANNED_CHANNELS && lastRow !== undefined ? numberOf(lastRow, 'id') : undefined
      return { keys, next }
    },
    forget({ keys, appendedBefore }) {
      return keys.filter((key) => {
        // Somebody may have written since it was found to be old.
        const channel = channels.get(key)
        if (channel === undefined || channel.open > 0 || channel.time >= appendedBefore) return false
        deleteChannel.run(channel.id)
        insertForgotten.run(channel.id)
        channels.drop(key)
        return true
      })
    },
    sweep() {
      for (let deleted = 0; deleted < DELETED_ROWS; ) {
        const row = selectForgotten.get()
        if (row === undefined) return { more: false }
        const id = numberOf(row, 'channel')
        const changes = Number(deleteEntries.run(id).changes) || Number(deleteWritten.run(id).changes)
        if (changes === 0) deleteForgotten.run(id)
        deleted += changes + 1
      }
      return { more: true }
    },
  }
}
