import type { DatabaseSync } from 'node:sqlite'
import { createApart } from './sqlite-apart.ts'
import type { StoredChannels } from './sqlite-channels.ts'
import type { PartFailed, StoreRequestOf, StoreResults } from './sqlite-requests.ts'
import { numberOf, textOf } from './sqlite-row.ts'

/** How much one slice looks through or deletes: a few ms each. */
const SCANNED_CHANNELS = 2_000
const DELETED_ROWS = 1_000

/** Expiry in three steps: who may go, who goes (their keys are free at once), and the deletion of what they left. */
export interface SqliteExpire {
  expirable(request: StoreRequestOf<'expirable'>): StoreResults['expirable']
  forget(request: StoreRequestOf<'forget'>): StoreResults['forget']
  sweep(request: StoreRequestOf<'sweep'>): StoreResults['sweep']
}

/** Prepares the statements of expiry. */
export function createSqliteExpire(database: DatabaseSync, channels: StoredChannels): SqliteExpire {
  const apart = createApart(database)
  const selectScan = database.prepare(
    `SELECT id, key, time, open FROM channels WHERE id > ? ORDER BY id LIMIT ${SCANNED_CHANNELS}`,
  )
  const selectLast = database.prepare('SELECT time FROM entries WHERE channel = ? ORDER BY offset DESC LIMIT 1')
  const touch = database.prepare('UPDATE channels SET time = ? WHERE id = ?')
  const deleteChannel = database.prepare('DELETE FROM channels WHERE id = ?')
  const insertForgotten = database.prepare('INSERT INTO forgotten (channel) VALUES (?)')
  const selectForgotten = database.prepare('SELECT channel FROM forgotten WHERE channel > ? ORDER BY channel LIMIT 1')
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
      const failed: PartFailed[] = []
      const rows = selectScan.all(afterId)
      for (const row of rows) {
        if (numberOf(row, 'open') > 0 || numberOf(row, 'time') >= appendedBefore) continue
        const id = numberOf(row, 'id')
        const key = textOf(row, 'key')
        const failure = apart(
          () => key,
          () => {
            const last = numberOf(selectLast.get(id) ?? {}, 'time')
            if (last < appendedBefore) keys.push(key)
            else touch.run(last, id)
          },
        )
        if (failure !== undefined) failed.push(failure)
      }
      const lastRow = rows.at(-1)
      const next = rows.length === SCANNED_CHANNELS && lastRow !== undefined ? numberOf(lastRow, 'id') : undefined
      return { keys, next, failed }
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
    sweep({ afterId }) {
      const failed: PartFailed[] = []
      let next = afterId
      for (let deleted = 0; deleted < DELETED_ROWS; ) {
        const row = selectForgotten.get(next)
        if (row === undefined) return { next: undefined, failed }
        const id = numberOf(row, 'channel')
        const failure = apart(
          () => `forgotten channel ${id}`,
          () => {
            const changes = Number(deleteEntries.run(id).changes) || Number(deleteWritten.run(id).changes)
            if (changes === 0) deleteForgotten.run(id)
            deleted += changes + 1
          },
        )
        if (failure === undefined) continue
        failed.push(failure)
        next = id
      }
      return { next, failed }
    },
  }
}
