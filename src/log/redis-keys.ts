import { createHash } from 'node:crypto'

/**
 * The keys of one channel, under one hash tag, so that a script may touch all of them in a Cluster:
 * - `meta` hash: `epoch`, `before` (the epochs before it, see `LUA_EPOCHS`), `head`, `shown` (readers see entries up to it),
 *   `unsettled` (the head that a failover left, where replicas confirm: below it, nobody knows what had been shown), `fence`,
 *   `open` (turns without an end), `time` (of the last append), `kept` (when a node last had it attached), `store` (the
 *   replication id of the Redis that wrote last). A lease may have made it before the first append: without `epoch` there is
 *   no channel.
 * - `log` stream: `<offset>-0` → `t` time, `e` text, `n` nonce of the append, `s` `<producer's first offset>:<number>`.
 * - `ids` hash: `["producer","id"]` → offset; `["producer"]` → `<first offset> <last number> <its offset>`.
 * - `ended` sorted set: offsets of terminal entries whose turns are not folded, by time.
 * - `folded` sorted set: `<first> <time> <text>` by the offset where it stands; a stream takes nothing in its middle.
 */
export interface ChannelKeys {
  readonly meta: string
  readonly log: string
  readonly ids: string
  readonly ended: string
  readonly folded: string
  /** The pub/sub channel of its wake-ups. */
  readonly wake: string
}

/** The keys of a channel. */
export function keysOf(key: string): ChannelKeys {
  const base = `sw:{${key}}:`
  return {
    meta: `${base}meta`,
    log: `${base}log`,
    ids: `${base}ids`,
    ended: `${base}ended`,
    folded: `${base}folded`,
    wake: `${base}wake`,
  }
}

/** The channel's keys in the order in which every script takes them. */
export function scriptKeys({ meta, log, ids, ended, folded }: ChannelKeys): readonly string[] {
  return [meta, log, ids, ended, folded]
}

const WAKE = /^sw:\{(.+)\}:wake$/

/** The channel that a wake-up is about. */
export function channelOfWake(name: string): string | undefined {
  return WAKE.exec(name)?.[1]
}

/** An index of channels beside their own keys: those with turns, those with turns to fold, and all. */
export type IndexName = 'turns' | 'ended' | 'channels'

/** How many keys an index is spread over, so that a Cluster's masters share it and the loss of one leaves the others. */
const SHARDS = 16

/** The key of the shard of an index that names a channel. */
export function indexKey(index: IndexName, key: string): string {
  const shard = createHash('sha1').update(key).digest().readUInt32BE(0) % SHARDS
  return `sw:{${index}-${shard}}`
}

/** All shards of an index. */
export function indexKeys(index: IndexName): readonly string[] {
  return Array.from({ length: SHARDS }, (_, shard) => `sw:{${index}-${shard}}`)
}

/** Keys that are written to find out whether writing works: in a Cluster they lie on all masters. */
export const PROBE_KEYS: readonly string[] = Array.from({ length: SHARDS }, (_, shard) => `sw:{probe-${shard}}`)

const SLOT_BITS = 0x3fff
const CRC16_XMODEM = 0x1021

/** The hash slot of a key of ours in a Cluster: CRC16 (XMODEM) of the hash tag, modulo 16384. */
export function slotOf(key: string): number {
  let crc = 0
  for (const byte of Buffer.from(key.slice(key.indexOf('{') + 1, key.indexOf('}')))) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ CRC16_XMODEM) & 0xffff
  }
  return crc & SLOT_BITS
}
