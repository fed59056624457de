import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { LogError } from './channel-log.ts'
import { numberOf } from './sqlite-row.ts'
import { APPLICATION_ID, DATABASE_FILE, SCHEMA, SCHEMA_VERSION } from './sqlite-schema.ts'

/** Files up to this size are read through for damage when they are opened (about a second); larger ones only in part. */
const CHECKED_BYTES = 256 * 1024 * 1024
/** Checkpoints cost an fsync of the whole file: one per 16 MB, where SQLite's own default is 4 MB. */
const CHECKPOINT_PAGES = 4096
const CACHE_KIB = 65_536
/** The conversations of people: nobody else on the machine reads them. */
const DIRECTORY_MODE = 0o700

/** SQLite's primary result codes, of which `errcode` has more in its higher bits. */
const SQLITE_BUSY = 5
const SQLITE_NOTADB = 26
const PRIMARY_CODE = 0xff

/**
 * Opens `statewire.db` under a directory, making either where it is missing, for this process alone. Throws
 * {@link LogError} `failed` for a file that is in use, damaged, newer, or not ours, and leaves that file as it is.
 */
export function openDatabase(dataDir: string): DatabaseSync {
  const file = join(dataDir, DATABASE_FILE)
  try {
    makeDirectory(resolve(dataDir))
    const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0
    const empty = size === 0 || inspect(file, size)
    return open(file, empty)
  } catch (error) {
    throw toLogError(error, dataDir, file)
  }
}

/** Looks at a file without the right to write it. Answers whether it has no table yet; throws where it is not ours. */
function inspect(file: string, size: number): boolean {
  const url = pathToFileURL(file)
  // Else SQLite would leave an empty -wal beside a file in that mode. Where there is one, its pages count, too.
  if (!['-wal', '-journal'].some((ending) => existsSync(file + ending))) url.searchParams.set('immutable', '1')
  const database = new DatabaseSync(url, { readOnly: true })
  try {
    const application = pragma(database, 'application_id')
    const version = pragma(database, 'user_version')
    const tables = numberOf(database.prepare('SELECT count(*) AS n FROM sqlite_schema').get() ?? {}, 'n')
    // A server that was killed in its first moment leaves such a file.
    if (application === 0 && version === 0 && tables === 0) return true
    if (application !== APPLICATION_ID) {
      throw new LogError('failed', `${file} belongs to another application: choose another DATA_DIR, or move it away`)
    }
    if (version > SCHEMA_VERSION) {
      const versions = `it has version ${version}, this server knows ${SCHEMA_VERSION}`
      throw new LogError(
        'failed',
        `${file} was written by a newer Statewire (${versions}): start that one, or move it away`,
      )
    }
    if (size <= CHECKED_BYTES) checkForDamage(database, file)
    return false
  } finally {
    database.close()
  }
}

function checkForDamage(database: DatabaseSync, file: string): void {
  const found = database.prepare('PRAGMA quick_check(1)').get()?.quick_check
  if (found !== 'ok') throw damaged(file)
}

function open(file: string, empty: boolean): DatabaseSync {
  const database = new DatabaseSync(file)
  try {
    // Before the first access: SQLite then keeps its lock, and needs no shared memory beside the file.
    database.exec('PRAGMA locking_mode = EXCLUSIVE')
    if (empty) create(database)
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES};
      PRAGMA cache_size = -${CACHE_KIB};
      PRAGMA temp_store = MEMORY;
      BEGIN IMMEDIATE;
      COMMIT;
    `)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** In one transaction of the rollback journal: a file of ours is never seen half made. */
function create(database: DatabaseSync): void {
  database.exec(`
    BEGIN EXCLUSIVE;
    PRAGMA application_id = ${APPLICATION_ID};
    PRAGMA user_version = ${SCHEMA_VERSION};
    ${SCHEMA}
    COMMIT;
  `)
}

function pragma(database: DatabaseSync, name: 'application_id' | 'user_version'): number {
  return numberOf(database.prepare(`PRAGMA ${name}`).get() ?? {}, name)
}

function damaged(file: string, cause?: unknown): LogError {
  return new LogError('failed', `${file} is damaged: restore it from a backup, or move it away to start afresh`, {
    cause,
  })
}

function toLogError(error: unknown, dataDir: string, file: string): LogError {
  if (error instanceof LogError) return error
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) & PRIMARY_CODE : undefined
  if (code === SQLITE_BUSY) {
    return new LogError('failed', `another server uses ${dataDir}: stop it, or choose another DATA_DIR`)
  }
  if (code === SQLITE_NOTADB) {
    const message = `${file} is not a SQLite database: choose another DATA_DIR, or move it away`
    return new LogError('failed', message, { cause: error })
  }
  const reason = error instanceof Error ? error.message : String(error)
  if (/malformed|corrupt/.test(reason)) return damaged(file, error)
  return new LogError('failed', `${file} cannot be opened: ${reason}`, { cause: error })
}

/** Makes a directory and what is missing above it. Node's own `recursive` never ends where a parent takes none, such as /proc. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return
  makeDirectory(dirname(path))
  mkdirSync(path, { mode: DIRECTORY_MODE })
}
