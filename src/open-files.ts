import { readFileSync } from 'node:fs'

/** What is assumed where the system does not say. */
const COMMON_LIMIT = 1_048_576

/** How many files this process may have open. Node.js raises its soft limit to the hard one at start. */
export function openFilesLimit(): number {
  try {
    const row = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
    return row === null ? COMMON_LIMIT : Number(row[1])
  } catch {
    // Not Linux: there is no such file, and the limit is the system's affair.
    return COMMON_LIMIT
  }
}
