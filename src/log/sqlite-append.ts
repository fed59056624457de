import type { DatabaseSync } from 'node:sqlite'
import { assertJudged } from './assert-judged.ts'
import { LogError } from './channel-log.ts'
import { nextEpoch } from './incarnation.ts'
import type { Counted, StoredChannel, StoredChannels } from './sqlite-channels.ts'
import { toStoredRecord } from './sqlite-read.ts'
import type { StoredRecord, StoreRequestOf, StoreResults } from './sqlite-requests.ts'
import { numberOf } from './sqlite-row.ts'

/**
 * The `written.sequence` of a producer that counts: one row for all its entries. Ids are kept as JSON strings, which
 * tells them apart from it, and keeps ids apart that are no well-formed Unicode.
 */
const COUNTED = '#'

/** The two operations that know who wrote what. */
export interface SqliteAppend {
  append(request: StoreRequestOf<'append'>): StoreResults['append']
  find(request: StoreRequestOf<'find'>): StoredRecord | undefined
}

/** Prepares the statements of appending. */
export function createSqliteAppend(database: DatabaseSync, channels: StoredChannels): SqliteAppend {
  const insertChannel = database.prepare('INSERT INTO channels (key, epoch, fence, open, time) VALUES (?, ?, ?, ?, ?)')
  const updateChannel = database.prepare('UPDATE channels SET epoch = ?, fence = ?, open = ?, time = ? WHERE id = ?')
  const insertEntry = database.prepare(
    'INSERT INTO entries (channel, offset, producer, sequence, time, text) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const insertWritten = database.prepare(
    'INSERT INTO written (channel, producer, sequence, offset) VALUES (?, ?, ?, ?)',
  )
  const selectWritten = database.prepare(
    'SELECT offset FROM written WHERE channel = ? AND producer = ? AND sequence = ?',
  )
  const selectLastCounted = database.prepare(
    'SELECT sequence, offset FROM entries WHERE channel = ? AND offset >= ? AND producer = ? ORDER BY offset DESC LIMIT 1',
  )
  const selectCountedFrom = database.prepare(
    'SELECT offset, sequence, time, text, folded_from FROM entries WHERE channel = ? AND offset >= ? AND producer = ? AND sequence >= ? ORDER BY offset LIMIT 1',
  )
  const selectAt = database.prepare(
    'SELECT offset, time, text, folded_from FROM entries WHERE channel = ? AND offset = ?',
  )
  const insertEnded = database.prepare('INSERT INTO ended (time, channel, offset) VALUES (?, ?, ?)')

  function writtenAt(channel: StoredChannel, producer: string, sequence: string): number | undefined {
    const row = selectWritten.get(channel.id, producer, sequence)
    return row === undefined ? undefined : numberOf(row, 'offset')
  }

  function countedBy(channel: StoredChannel, producer: string): Counted | undefined {
    const known = channel.producers.get(producer)
    if (known !== undefined) return known
    const first = writtenAt(channel, producer, COUNTED)
    const row = first === undefined ? undefined : selectLastCounted.get(channel.id, first, first)
    if (first === undefined || row === undefined) return undefined
    const counted = { first, last: numberOf(row, 'sequence'), offset: numberOf(row, 'offset') }
    channels.remember(channel, producer, counted)
    return counted
  }

  function repeatOf(channel: StoredChannel, { writer }: StoreRequestOf<'append'>): number | undefined {
    const { producer, sequence } = writer
    if (typeof sequence === 'string') return writtenAt(channel, producer, JSON.stringify(sequence))
    const counted = countedBy(channel, producer)
    if (counted === undefined || sequence > counted.last) return undefined
    if (sequence === counted.last) return counted.offset
    // An older one: where it has been folded, what it was folded into is the next that is kept.
    const row = selectCountedFrom.get(channel.id, counted.first, counted.first, sequence)
    return row === undefined ? counted.offset : numberOf(row, 'offset')
  }

  function insert(key: string, { writer, time, opens }: StoreRequestOf<'append'>, epoch: string): StoredChannel {
    const open = Math.max(0, opens)
    const id = Number(insertChannel.run(key, epoch, writer.fence ?? null, open, time).lastInsertRowid)
    const nothing = { replaced: undefined, head: 0, judged: 0, producers: new Map() }
    const channel = { id, epoch, fence: writer.fence, open, time, ...nothing }
    channels.put(key, channel)
    return channel
  }

  function save(channel: StoredChannel): void {
    updateChannel.run(channel.epoch, channel.fence ?? null, channel.open, channel.time, channel.id)
  }

  function writeEntry(channel: StoredChannel, request: StoreRequestOf<'append'>): number {
    const { producer, sequence, judgedAt } = request.writer
    const offset = channel.head + 1
    if (typeof sequence === 'string') {
      insertWritten.run(channel.id, producer, JSON.stringify(sequence), offset)
      insertEntry.run(channel.id, offset, null, null, request.time, request.text)
    } else {
      const counted = countedBy(channel, producer) ?? { first: offset, last: sequence, offset }
      if (counted.first === offset) insertWritten.run(channel.id, producer, COUNTED, offset)
      insertEntry.run(channel.id, offset, counted.first, sequence, request.time, request.text)
      counted.last = sequence
      counted.offset = offset
      channels.remember(channel, producer, counted)
    }
    if (request.ends) insertEnded.run(request.time, channel.id, offset)
    channel.head = offset
    if (judgedAt !== undefined) channel.judged = offset
    channel.time = request.time
    return offset
  }

  return {
    append(request) {
      const { key, writer } = request
      const known = channels.get(key)
      if (writer.fence !== undefined && known !== undefined && writer.fence !== known.fence) {
        if (known.fence !== undefined && writer.fence < known.fence)
          throw new LogError('fenced', 'a newer lease holds it')
        known.fence = writer.fence
        save(known)
      }
      const repeat = known === undefined ? undefined : repeatOf(known, request)
      if (known !== undefined && repeat !== undefined) {
        return { epoch: known.epoch, offset: repeat, repeated: true, reset: undefined }
      }
      assertJudged(known, writer)
      const { epoch, rolledBack } = nextEpoch(known, writer)
      const channel = known ?? insert(key, request, epoch)
      const reset = rolledBack ? { epoch, offset: channel.head } : undefined
      const open = known === undefined ? channel.open : Math.max(0, channel.open + request.opens)
      if (rolledBack) channel.replaced = writer.epoch
      if (channel.epoch !== epoch || channel.open !== open) {
        channel.epoch = epoch
        channel.open = open
        channel.time = request.time
        save(channel)
      }
      return { epoch, offset: writeEntry(channel, request), repeated: false, reset }
    },
    find({ key, producer, sequence }) {
      const channel = channels.get(key)
      if (channel === undefined) return undefined
      if (typeof sequence === 'string') {
        const offset = writtenAt(channel, producer, JSON.stringify(sequence))
        const row = offset === undefined ? undefined : selectAt.get(channel.id, offset)
        return row === undefined ? undefined : toStoredRecord(row)
      }
      const counted = countedBy(channel, producer)
      if (counted === undefined || sequence > counted.last) return undefined
      const row = selectCountedFrom.get(channel.id, counted.first, counted.first, sequence)
      return row === undefined || row.sequence !== sequence ? undefined : toStoredRecord(row)
    },
  }
}
