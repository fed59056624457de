import { randomBytes } from 'node:crypto'
import type { AppendOptions } from './channel-log.ts'

const EPOCH_BYTES = 12

/** What decides under which epoch the next entry of a channel is written. */
export interface Incarnation {
  readonly epoch: string
  readonly head: number
  /** The epoch that this one took the place of, where that is remembered. */
  readonly replaced: string | undefined
}

/**
 * The epoch for the next entry: the channel's own; the proposed one in a channel without entries; a new one where the
 * writer has seen more than there is. A writer that has not heard yet of the new epoch does not cause another.
 */
export function nextEpoch(
  channel: Incarnation | undefined,
  writer: Pick<AppendOptions, 'epoch' | 'seenHead'>,
): { readonly epoch: string; readonly rolledBack: boolean } {
  const rolledBack = writer.seenHead > (channel?.head ?? 0) && writer.epoch !== channel?.replaced
  if (rolledBack) return { epoch: randomBytes(EPOCH_BYTES).toString('base64url'), rolledBack }
  return { epoch: channel?.epoch ?? writer.epoch, rolledBack }
}
