import type { ChannelLog, Head } from '../log/channel-log.ts'

/** Of a channel, what its reading of its log needs. */
interface Reading {
  readonly key: string
  readonly epoch: string
  readonly isReading: boolean
  reset(head: Head): void
  whenRead(): Promise<void>
}

/**
 * Resolves when a channel knows the log that a head is of, or a later one. `known` is its epoch when that head was asked for: a
 * log tells of another epoch before it answers by it, and where it has not, the channel reads it by itself. Rejects with LogError.
 */
export async function keepUp(channel: Reading, known: string, head: Head): Promise<void> {
  await channel.whenRead()
  if (head.epoch === undefined || head.epoch === known || channel.epoch !== known) return
  if (!channel.isReading) channel.reset(head)
  await channel.whenRead()
}

/** The offset of a channel's head in its log, when the channel knows the log that this is of, or a later one. Rejects with LogError. */
export async function headOf(channel: Reading, log: ChannelLog): Promise<number> {
  for (;;) {
    const known = channel.epoch
    const head = await log.head(channel.key)
    await keepUp(channel, known, head)
    if (head.epoch === undefined || head.epoch === channel.epoch) return head.offset
  }
}
