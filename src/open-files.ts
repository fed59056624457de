import { readFileSync } from 'node:fs'

/** What is assumed where the system does not say. */
const COMMON_LIMIT = 1_048_576
/** Descriptors that are not connections: files, upstream sockets, those being closed. */
const SPARE_FILES = 1_000

/** How many connections the open-files limit leaves room for, at least one. */
export function connectionsByOpenFiles(): number {
  return Math.max(1, openFilesLimit() - SPARE_FILES)
}

/** How many files this process may have open. Node.js raises its soft limit to the hard one at start. */
function openFilesLimit(): number {
  try {
    const row = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
    return row === null ? COMMON_LIMIT : Number(row[1])
  } catch {
    // Not Linux: there is no such file, and the limit is the system's affair.
    return COMMON_LIMIT
  }
}
