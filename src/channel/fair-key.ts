import { createHash } from 'node:crypto'

/** 18 bits. */
const CHARACTERS = 3

/**
 * Whose turn it is, for fairness on whichever server it runs: a part of a hash of who that is. It is kept in the log, so it is
 * too short to tell an address from some 16,000 others, and long enough for one in 262,144 to share a place with another.
 */
export function fairKeyOf(who: string): string {
  return createHash('sha1').update(who).digest('base64url').slice(0, CHARACTERS)
}
