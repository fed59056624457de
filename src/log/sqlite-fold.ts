import type { DatabaseSync } from 'node:sqlite'
import { foldTurn, type PlacedEntry } from './fold-turn.ts'
import { parseEntry } from './parse-entry.ts'
import type { StoreRequestOf, StoreResults } from './sqlite-requests.ts'
import { numberOf, textOf } from './sqlite-row.ts'

/** How long one slice of folding may hold up appends, in ms; the turn in hand is finished. */
const SLICE_MS = 10

/** Prepares the statements of folding. */
export function createSqliteFold(database: DatabaseSync): (request: StoreRequestOf<'fold'>) => StoreResults['fold'] {
  const selectEnded = database.prepare('SELECT time, channel, offset FROM ended WHERE time < ? ORDER BY time LIMIT 1')
  const deleteEnded = database.prepare('DELETE FROM ended WHERE time = ? AND channel = ? AND offset = ?')
  const selectBack = database.prepare(
    'SELECT offset, text FROM entries WHERE channel = ? AND offset <= ? ORDER BY offset DESC',
  )
  const deleteEntry = database.prepare('DELETE FROM entries WHERE channel = ? AND offset = ?')
  const markBetween = database.prepare(
    'UPDATE entries SET folded_from = ? WHERE channel = ? AND offset > ? AND offset < ?',
  )
  const replaceLast = database.prepare('UPDATE entries SET folded_from = ?, text = ? WHERE channel = ? AND offset = ?')

  function fold(channel: number, end: number): boolean {
    let damaged = false
    function* backwards(): Generator<PlacedEntry> {
      for (const row of selectBack.iterate(channel, end)) {
        const entry = parseEntry(textOf(row, 'text'))
        damaged ||= entry === undefined
        if (entry === undefined) return
        yield { offset: numberOf(row, 'offset'), entry }
      }
    }
    const turn = foldTurn(backwards())
    if (turn === undefined || damaged) return false
    for (const offset of turn.dropped) deleteEntry.run(channel, offset)
    markBetween.run(turn.first, channel, turn.first, turn.last)
    replaceLast.run(turn.first, JSON.stringify(turn.message), channel, turn.last)
    return true
  }

  return ({ endedBefore }) => {
    const until = performance.now() + SLICE_MS
    let folded = 0
    while (performance.now() < until) {
      const due = selectEnded.get(endedBefore)
      if (due === undefined) return { folded, more: false }
      const channel = numberOf(due, 'channel')
      const offset = numberOf(due, 'offset')
      // Before the fold: a turn of an expired channel, or one with a record that cannot be read, is let be for good.
      deleteEnded.run(numberOf(due, 'time'), channel, offset)
      if (fold(channel, offset)) folded += 1
    }
    return { folded, more: true }
  }
}
