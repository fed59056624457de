import type { Channel } from './channel.ts'

/** Channels that are in memory: those with members, and those with something under way. */
export interface Channels {
  /**
   * The channel of a key, read to its head. `isNew`: nothing can be in its log. `claim` is called at the last moment at
   * which the channel cannot have been forgotten. Rejects with LogError.
   */
  open(key: string, isNew: boolean, claim: (channel: Channel) => void): Promise<Channel>
  /** Forgets a channel that nobody needs. */
  releaseIfIdle(channel: Channel): void
  /** The channel of a key, where it is in memory. */
  find(key: string): Channel | undefined
  all(): Iterable<Channel>
  keys(): ReadonlySet<string>
}

/** `create` makes the channel of a key, not yet loaded. */
export function createChannels(create: (key: string) => Channel): Channels {
  const opened = new Map<string, { channel: Channel; loaded: Promise<void>; opening: number }>()
  return {
    async open(key, isNew, claim) {
      let entry = opened.get(key)
      if (entry === undefined) {
        const channel = create(key)
        entry = { channel, loaded: channel.load(isNew), opening: 0 }
        opened.set(key, entry)
      }
      entry.opening++
      try {
        await entry.loaded
        claim(entry.channel)
        return entry.channel
      } catch (error) {
        if (opened.get(key) === entry) opened.delete(key)
        entry.channel.unload()
        throw error
      } finally {
        entry.opening--
      }
    },
    releaseIfIdle(channel) {
      const entry = opened.get(channel.key)
      if (entry?.channel !== channel || entry.opening > 0 || channel.members.size > 0 || channel.isBusy()) return
      opened.delete(channel.key)
      channel.unload()
    },
    find: (key) => opened.get(key)?.channel,
    *all() {
      for (const { channel } of opened.values()) yield channel
    },
    keys: () => new Set(opened.keys()),
  }
}
