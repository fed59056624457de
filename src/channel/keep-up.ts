import type { Head } from '../log/channel-log.ts'

/** Of a channel, what its reading of its log needs. */
interface Reading {
  readonly epoch: string
  readonly isReading: boolean
  reset(head: Head): void
  whenRead(): Promise<void>
}

/**
 * Resolves when a channel knows the log that a head is of, or a later one: a log tells of another epoch before it answers one
 * of its heads, and where it has not, the channel reads it by itself. Rejects with LogError.
 */
export async function keepUp(channel: Reading, head: Head): Promise<void> {
  await channel.whenRead()
  if (head.epoch === undefined || head.epoch === channel.epoch) return
  if (!channel.isReading) channel.reset(head)
  await channel.whenRead()
}
