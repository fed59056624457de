import type { Channels } from './channels.ts'
import { ChatChannel } from './chat-channel.ts'

/** The chats of which this process runs a turn, or is about to. */
export function* runningChats(channels: Channels): Generator<ChatChannel> {
  for (const channel of channels.all()) if (channel instanceof ChatChannel && channel.isRunning) yield channel
}
