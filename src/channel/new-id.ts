import { randomBytes } from 'node:crypto'

/** A random name for something of which there are many: 96 bits in 16 characters of `A-Za-z0-9_-`. */
export function newId(): string {
  return randomBytes(12).toString('base64url')
}
