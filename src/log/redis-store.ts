import { z } from 'zod'
import type { Position } from '../protocol/position.ts'
import { type AppendOptions, type Head, LogError, type ReadLimit } from './channel-log.ts'
import { takePage } from './read-page.ts'
import { ADOPT, APPEND, SHOW } from './redis-append-script.ts'
import { pubSubName, type RedisClient } from './redis-clients.ts'
import type { Confirmed } from './redis-confirm.ts'
import { keysOf, scriptKeys } from './redis-keys.ts'
import type { Reach } from './redis-reach.ts'
import { FIND, READ } from './redis-read-script.ts'
import { type RedisScript, runScript, type ScriptArguments } from './redis-script.ts'
import { createUniqueNames } from './unique-names.ts'

/** A record as it is stored. `foldedFrom` as in a page's row. */
export interface RedisRecord {
  readonly offset: number
  readonly text: string
  readonly time: number
  readonly foldedFrom: number | undefined
}

/** One append as the script takes it. The same `nonce` is the same append, tried again. */
export interface RedisAppend {
  readonly text: string
  readonly time: number
  readonly opens: -1 | 0 | 1
  readonly ends: boolean
  readonly nonce: string
  readonly writer: AppendOptions
}

/** What became of an append. `mine` is one whose answer had been lost; of `stale`, the offset is the head. */
export interface RedisAppended {
  readonly epoch: string
  readonly offset: number
  readonly outcome: 'written' | 'repeated' | 'mine' | 'stale'
}

/** Single tries: they reject as the client does, and are to be tried again. */
export interface RedisStore {
  /** `withinMs`: it is not done later than that. */
  append(key: string, append: RedisAppend, withinMs: number): Promise<RedisAppended>
  /** `isSeen`: a follower had got the position, so that a head below it begins a new epoch. */
  read(key: string, after: Position, limit: ReadLimit, isSeen: boolean): Promise<RedisPage>
  find(key: string, producer: string, sequence: AppendOptions['sequence']): Promise<RedisRecord | undefined>
  /** Runs a script that writes, and answers when it is as safe as an append. */
  write(script: RedisScript, keys: readonly string[], args: ScriptArguments, notAfter?: number): Promise<unknown>
}

/** `records` is undefined where the position is not honoured. */
export interface RedisPage {
  readonly head: Head
  readonly records: readonly RedisRecord[] | undefined
}

/** See {@link createRedisStore}. */
export interface RedisStoreOptions {
  readonly client: RedisClient
  readonly reach: Pick<Reach, 'notAfter'>
  /** Where replicas must confirm what is written, before it is shown. */
  readonly confirmed: Confirmed | undefined
  readonly publish: 'PUBLISH' | 'SPUBLISH'
  /** How long a channel is kept by Redis itself, in ms. */
  readonly keptMs: number
}

const appendReply = z.union([
  z.tuple([z.enum(['fenced', 'moved'])]),
  z.tuple([z.string(), z.number(), z.enum(['written', 'repeated', 'mine', 'stale'])]),
])
const row = z.tuple([z.number(), z.string(), z.string(), z.union([z.number(), z.literal('')])])
const readReply = z.union([
  z.tuple([z.literal('unsettled')]),
  z.tuple([z.string(), z.number(), z.array(row), z.number()]),
])
const findReply = z.union([z.tuple([]), z.tuple([z.number(), z.string(), z.string()])])
const adoptReply = z.tuple([z.string(), z.number()])

/** What the scripts do, with their arguments and answers in the log's terms. */
export function createRedisStore({ client, reach, confirmed, publish, keptMs }: RedisStoreOptions): RedisStore {
  const waits = confirmed === undefined ? 0 : 1
  const newEpoch = createUniqueNames()
  const write: RedisStore['write'] = (script, keys, args, notAfter) =>
    confirmed === undefined
      ? runScript(client, script, keys, args, notAfter)
      : confirmed.run(script, keys, args, notAfter)

  async function append(key: string, asked: RedisAppend, withinMs: number): Promise<RedisAppended> {
    const { text, time, opens, ends, nonce, writer } = asked
    const { producer, sequence, fence, seenHead, judgedAt, epoch: proposed } = writer
    const isCounted = typeof sequence === 'number'
    const [field, number] = [fieldOf(producer, sequence), isCounted ? sequence : '']
    const { wake, ...keys } = keysOf(key)
    const entry = [text, time, opens, ends ? 1 : 0, field, number, nonce]
    const conditions = [
      fence ?? '',
      seenHead,
      proposed,
      newEpoch(),
      keptMs,
      waits,
      publish,
      pubSubName(client, wake),
      judgedAt ?? '',
    ]
    const notAfter = reach.notAfter(keys.meta, withinMs)
    const args = [...entry, ...conditions]
    const reply = appendReply.parse(await write(APPEND, scriptKeys({ ...keys, wake }), args, notAfter))
    if (reply.length === 1) {
      const isMoved = reply[0] === 'moved'
      throw new LogError('fenced', isMoved ? 'the log is not the one that the lease is for' : 'a newer lease holds it')
    }
    const [epoch, offset, outcome] = reply
    if (waits === 1) await show(key, epoch, offset, isOwn(outcome) ? { text, time } : undefined)
    return { epoch, offset, outcome }
  }

  async function show(key: string, epoch: string, offset: number, entry?: { text: string; time: number }) {
    const keys = keysOf(key)
    const { text, time } = entry ?? { text: '', time: 0 }
    const args = [epoch, offset, time, text, publish, pubSubName(client, keys.wake)]
    // To be tried again: the successor has it, or has not.
    if ((await runScript(client, SHOW, scriptKeys(keys), args)) === 0) throw new Error(MOVED)
  }

  /** After a failover: what survived it is confirmed by the replicas that there are now, and then shown. */
  async function settle(key: string): Promise<void> {
    const [epoch, head] = adoptReply.parse(await write(ADOPT, scriptKeys(keysOf(key)), [newEpoch()]))
    if (epoch !== '') await show(key, epoch, head)
  }

  return {
    append,
    write,
    async read(key, after, limit, isSeen) {
      const args = [after.epoch, after.offset, limit.records, limit.bytes, isSeen ? 1 : 0, newEpoch(), waits]
      const read = async () => readReply.parse(await runScript(client, READ, scriptKeys(keysOf(key)), args))
      let reply = await read()
      if (reply.length === 1) {
        await settle(key)
        reply = await read()
      }
      if (reply.length === 1) throw new Error(MOVED)
      const [epoch, offset, rows, isHeld] = reply
      const head = { epoch: epoch === '' ? undefined : epoch, offset }
      if (isHeld === 0) return { head, records: undefined }
      return { head, records: limit.records === 0 ? [] : takePage(rows.map(toRecord), after.offset, limit) }
    },
    async find(key, producer, sequence) {
      const number = typeof sequence === 'number' ? sequence : ''
      const args = [fieldOf(producer, sequence), number]
      const [offset, time, text] = findReply.parse(await runScript(client, FIND, scriptKeys(keysOf(key)), args))
      if (offset === undefined) return undefined
      return { offset, time: Number(time), text: text ?? '', foldedFrom: undefined }
    },
  }
}

const MOVED = 'the master of the channel has just changed'

/** Whether what stands at the offset is what was to be appended. */
export function isOwn(outcome: RedisAppended['outcome']): boolean {
  return outcome === 'written' || outcome === 'mine'
}

/** JSON keeps ids apart that are no well-formed Unicode. A producer that counts has one field for all its entries. */
function fieldOf(producer: string, sequence: AppendOptions['sequence']): string {
  return JSON.stringify(typeof sequence === 'number' ? [producer] : [producer, sequence])
}

function toRecord([offset, time, text, from]: z.infer<typeof row>): RedisRecord {
  return { offset, time: Number(time), text, foldedFrom: from === '' ? undefined : from }
}
