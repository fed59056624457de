import { describe, expect, it } from 'vitest'
import { randomId } from '../../src/client/connect.ts'
import { channelOfHash, hashOfChannel } from '../../src/web/chat/channel-name.ts'
import { draftsOf, keepDrafts } from '../../src/web/chat/kept-drafts.ts'
import { keyedText } from '../../src/web/chat/keyed-text.ts'
import { forgetChat, recentChats, rememberChat } from '../../src/web/chat/recent-chats.ts'

/** As in a browser that forbids storage. */
const forbidden = () =>
  keyedText(() => {
    throw new Error('forbidden')
  })

describe('recent chats', () => {
  it('stand newest first, each once, under how they began', () => {
    const storage = forbidden()
    rememberChat(storage, 'a', 'First\n  words', 1)
    rememberChat(storage, 'b', 'x'.repeat(100), 2)
    rememberChat(storage, 'a', 'another beginning', 3)
    expect(recentChats(storage).map((chat) => chat.title)).toEqual(['First words', `${'x'.repeat(60)}…`])
    forgetChat(storage, 'a')
    expect(recentChats(storage).map((chat) => chat.channel)).toEqual(['b'])
  })

  it('are none where something else was stored', () => {
    for (const text of ['nonsense', '7', '[{"channel":3}]']) {
      const storage = forbidden()
      storage.setItem('statewire.chats', text)
      expect(recentChats(storage)).toEqual([])
    }
  })

  it('drafts come back for their own channel, until they are sent', () => {
    const storage = forbidden()
    keepDrafts(storage, 'a', [{ id: '1', content: 'hello' }, { id: '2' }])
    expect(draftsOf(storage, 'a')).toEqual([{ id: '1', content: 'hello' }])
    expect(draftsOf(storage, 'b')).toEqual([])
    keepDrafts(storage, 'a', [])
    expect(draftsOf(storage, 'a')).toEqual([])
  })

  it('L2 a hash names a channel only by what the server allows', () => {
    expect(channelOfHash('#c=team.chat-1~x')).toBe('team.chat-1~x')
    for (const hash of ['', '#', '#c=', '#c=a/b', '#c=a%20b', `#c=${'x'.repeat(129)}`])
      expect(channelOfHash(hash)).toBeUndefined()
    const name = randomId()
    expect(name).toMatch(/^[0-9a-f]{32}$/)
    expect(channelOfHash(hashOfChannel(name))).toBe(name)
    expect(randomId()).not.toBe(name)
  })
})
