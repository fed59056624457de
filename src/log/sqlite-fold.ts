import type { DatabaseSync } from 'node:sqlite'
import { foldTurn, type PlacedEntry } from './fold-turn.ts'
import { parseEntry } from './parse-entry.ts'
import { createApart } from './sqlite-apart.ts'
import type { EndedPlace, PartFailed, StoreRequestOf, StoreResults } from './sqlite-requests.ts'
import { numberOf, textOf } from './sqlite-row.ts'

/** How long one slice of folding may hold up appends, in ms; the turn in hand is finished. */
const SLICE_MS = 10

/** Prepares the statements of folding. */
export function createSqliteFold(database: DatabaseSync): (request: StoreRequestOf<'fold'>) => StoreResults['fold'] {
  const apart = createApart(database)
  const selectEnded = database.prepare(
    `SELECT time, channel, offset FROM ended WHERE time < ? AND (time, channel, offset) > (?, ?, ?)
     ORDER BY time, channel, offset LIMIT 1`,
  )
  const selectKey = database.prepare('SELECT key FROM channels WHERE id = ?')
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

  return ({ endedBefore, after }) => {
    const until = performance.now() + SLICE_MS
    const failed: PartFailed[] = []
    let folded = 0
    let next: EndedPlace = after
    while (performance.now() < until) {
      const due = selectEnded.get(endedBefore, ...next)
      if (due === undefined) return { folded, next: undefined, failed }
      const place: EndedPlace = [numberOf(due, 'time'), numberOf(due, 'channel'), numberOf(due, 'offset')]
      const [, channel, offset] = place
      const failure = apart(
        () => textOf(selectKey.get(channel) ?? {}, 'key'),
        () => {
          // Before the fold: a turn of an expired channel, or one with a record that cannot be read, is let be for good.
          deleteEnded.run(...place)
          if (fold(channel, offset)) folded += 1
        },
      )
      if (failure !== undefined) failed.push(failure)
      next = place
    }
    return { folded, next, failed }
  }
}
