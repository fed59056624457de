import { LogError } from './channel-log.ts'
import { createSqliteAppend } from './sqlite-append.ts'
import { createStoredChannels, headOf } from './sqlite-channels.ts'
import { createSqliteExpire } from './sqlite-expire.ts'
import { createSqliteFold } from './sqlite-fold.ts'
import { openDatabase } from './sqlite-open.ts'
import { createSqliteRead } from './sqlite-read.ts'
import type { BatchReply, StoreAnswer, StoreOp, StoreRequest, StoreResults } from './sqlite-requests.ts'
import { textOf } from './sqlite-row.ts'

/** The database, synchronously: it blocks for an fsync, and so is at home in a thread of its own. */
export interface SqliteStore {
  /** Does a batch in its order, in one transaction: all of it is safe when this returns, or nothing was written. */
  run(batch: readonly StoreRequest[]): BatchReply
  close(): void
}

/** How many writes of a batch may fail by themselves (a damaged page under one channel) before all of it does. */
const LEFT_OUT = 3

const READS: ReadonlySet<StoreOp> = new Set(['head', 'read', 'find', 'unfinished'])

/** Opens the database under a directory. Throws {@link LogError} with a sentence for the operator where that fails. */
export function openStore(dataDir: string): SqliteStore {
  const database = openDatabase(dataDir)
  const channels = createStoredChannels(database)
  const writing = createSqliteAppend(database, channels)
  const read = createSqliteRead(database, channels)
  const fold = createSqliteFold(database)
  const expiry = createSqliteExpire(database, channels)
  const selectUnfinished = database.prepare('SELECT key FROM channels WHERE open > 0')
  const probe = database.prepare('INSERT OR REPLACE INTO probe (id, time) VALUES (1, ?)')

  function perform(request: StoreRequest): StoreResults[StoreOp] {
    switch (request.op) {
      case 'append':
        return writing.append(request)
      case 'find':
        return writing.find(request)
      case 'head':
        return headOf(channels.get(request.key))
      case 'read':
        return read(request)
      case 'unfinished':
        return selectUnfinished.all().map((row) => textOf(row, 'key'))
      case 'fold':
        return fold(request)
      case 'expirable':
        return expiry.expirable(request)
      case 'forget':
        return expiry.forget(request)
      case 'sweep':
        return expiry.sweep(request)
      case 'check':
        probe.run(request.time)
        return undefined
      default:
        return request satisfies never
    }
  }

  function answer(request: StoreRequest, writes: boolean): StoreAnswer {
    try {
      return { ok: true, value: perform(request) }
    } catch (error) {
      // What is wrong with one read, or refused to one writer, is no reason to fail the others of the batch.
      if (error instanceof LogError) return { ok: false, code: error.code, message: error.message }
      // (Unless SQLite gave up the transaction for it: what follows would then be written outside of one.)
      if (READS.has(request.op) && database.isTransaction === writes)
        return { ok: false, code: 'failed', message: failure(dataDir, 'read', error) }
      throw error
    }
  }

  /** The request that is being done, by its place in the batch; undefined at the transaction's begin and commit. */
  let current: number | undefined

  function transact(batch: readonly StoreRequest[], failed: ReadonlyMap<number, StoreAnswer>): StoreAnswer[] {
    const writes = batch.some((request) => !READS.has(request.op))
    current = undefined
    if (writes) database.exec('BEGIN IMMEDIATE')
    const answers = batch.map((request, index) => {
      current = index
      return failed.get(index) ?? answer(request, writes)
    })
    current = undefined
    if (writes) database.exec('COMMIT')
    return answers
  }

  return {
    run(batch) {
      const failed = new Map<number, StoreAnswer>()
      for (;;) {
        try {
          return { ok: true, answers: transact(batch, failed) }
        } catch (error) {
          channels.clear()
          // SQLite may have rolled back by itself: it does when the disk is full.
          if (database.isTransaction) database.exec('ROLLBACK')
          const message = failure(dataDir, 'written', error)
          if (current === undefined || failed.size === LEFT_OUT) return { ok: false, message }
          failed.set(current, { ok: false, code: 'failed', message })
        }
      }
    },
    close: () => database.close(),
  }
}

function failure(dataDir: string, what: 'read' | 'written', error: unknown): string {
  return `the log in ${dataDir} could not be ${what}: ${error instanceof Error ? error.message : String(error)}`
}
