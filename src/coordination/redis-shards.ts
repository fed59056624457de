import { createHash } from 'node:crypto'

/** How many groups the names of a kind make, each on one server of a Cluster. */
export const SHARDS = 16

/** The group of a name, from 0. */
export function shardOf(name: string): number {
  return createHash('sha1').update(name).digest().readUInt32BE(0) % SHARDS
}
