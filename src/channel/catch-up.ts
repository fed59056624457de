import type { LogRecord, ReadResult } from '../log/channel-log.ts'
import { encodeEntry } from '../protocol/codec.ts'
import { type Entry, isHidden } from '../protocol/entry.ts'
import type { Position } from '../protocol/position.ts'
import type { Channel } from './channel.ts'
import { keepUp } from './keep-up.ts'
import { PAGE_LENGTH, withOffset } from './snapshot.ts'

/** Somebody who reads a channel's log at his own pace, and where he is. */
export interface Reader {
  readonly epoch: string
  readonly offset: number
  /** A snapshot of which not everything has been sent. */
  readonly snapshot: PendingSnapshot | undefined
  /** Whether he is to get the snapshot first: he holds nothing, and did not ask to replay from the beginning. */
  readonly isFresh: boolean
  /** An older conversation that he asked for. */
  readonly conversation_id: string | undefined
  /** Sends a `welcome` with this epoch and offset 0: he holds nothing from now on, and is fresh. */
  begin(epoch: string): void
  /** Sends a `welcome` with this epoch and his own offset: the log goes on under it, and he holds what he had. */
  goOn(epoch: string): void
  keep(snapshot: PendingSnapshot): void
  /** Sends a frame, after which he is at `offset` (undefined: where he was). Answers false when his socket is congested now. */
  take(text: string, offset: number | undefined): boolean
  /** Moves on over entries that nobody sees, or the end of a snapshot. */
  moveTo(offset: number): void
}

/** What is left to be sent of a snapshot. */
export interface PendingSnapshot {
  readonly frames: Iterator<string>
  readonly offset: number
}

/**
 * Reads on from the reader's offset until it is the head (`caughtUp`), his socket is congested, or `isWanted` says that
 * he is no longer waiting for it (`left`). When it answers `caughtUp` nothing has been awaited since the head was looked
 * at, so he misses nothing by going live at once. Rejects with LogError.
 */
export async function catchUp(
  channel: Channel,
  reader: Reader,
  isWanted: () => boolean,
): Promise<'caughtUp' | 'congested' | 'left'> {
  for (;;) {
    if (reader.epoch !== channel.epoch && reader.offset === 0) reader.begin(channel.epoch)
    if (reader.snapshot !== undefined) {
      if (!sendSnapshot(reader, reader.snapshot)) return 'congested'
    } else if (reader.isFresh) {
      const { frames, offset, epoch } = await channel.snapshot(reader.conversation_id)
      if (!isWanted()) return 'left'
      if (epoch !== reader.epoch) continue
      reader.keep({ frames: withOffset(frames, offset), offset })
    } else if (reader.epoch === channel.epoch && reader.offset >= channel.head) {
      return 'caughtUp'
    } else {
      const { head } = channel
      const page = await readAfter(channel, reader)
      if (!isWanted()) return 'left'
      if (!page.honoured) reader.begin(channel.epoch)
      // Another epoch came while it was read: under that one it may be another page.
      else if (page.head.epoch !== channel.epoch) continue
      // The log has lost its end, and nobody has found out yet.
      else if (page.records.length === 0 && reader.offset < head && reader.epoch === channel.epoch) {
        if (!channel.isReading) channel.reset(page.head)
      } else {
        if (reader.epoch !== channel.epoch) reader.goOn(channel.epoch)
        if (!sendRecords(reader, page.records)) return 'congested'
      }
    }
  }
}

/**
 * Reads after a position. The page is one of the log that the channel knows then, where both have the same epoch; else that
 * has changed once more. Rejects with LogError.
 */
export async function readAfter(channel: Channel, position: Position): Promise<ReadResult> {
  const { epoch } = channel
  const page = await channel.read(position)
  if (page.honoured) await keepUp(channel, epoch, page.head)
  else await channel.whenRead()
  return page
}

function sendSnapshot(reader: Reader, { frames, offset }: PendingSnapshot): boolean {
  for (let frame = frames.next(); frame.done !== true; frame = frames.next()) {
    if (!reader.take(frame.value, undefined)) return false
  }
  reader.moveTo(offset)
  return true
}

function sendRecords(reader: Reader, records: readonly LogRecord[]): boolean {
  for (let at = 0; at < records.length; ) {
    const first = records[at] as LogRecord
    let last = first
    let text = first.text
    at++
    if (isHidden(first.entry)) {
      reader.moveTo(first.offset)
      continue
    }
    const joined = joinChunks(records, at - 1)
    if (joined !== undefined) {
      text = JSON.stringify(joined.entry)
      last = records[joined.end - 1] as LogRecord
      at = joined.end
    }
    if (!reader.take(encodeEntry(text, last.offset), last.offset)) return false
  }
  return true
}

/** Joins the chunks of one kind and turn that begin at an index, where there are several. SPEC.md G6. */
function joinChunks(records: readonly LogRecord[], from: number): { entry: Entry; end: number } | undefined {
  const first = records[from]?.entry
  if (first?.type !== 'ai_stream_chunk' && first?.type !== 'ai_reasoning_chunk') return undefined
  let { content } = first
  let end = from + 1
  for (let next = records[end]?.entry; next !== undefined; next = records[++end]?.entry) {
    if (
      next.type !== first.type ||
      next.turn_id !== first.turn_id ||
      content.length + next.content.length > PAGE_LENGTH
    )
      break
    content += next.content
  }
  return end === from + 1 ? undefined : { entry: { ...first, content }, end }
}
