import { expect, test } from 'vitest'
import type { ChannelLog, Follower } from '../../src/log/channel-log.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { ask, say, settled, startChatServer } from '../support/chat-server.ts'

const KEY = 'ai-chat/one'

/** A log that may be lost: then it is an empty one, which cannot be read before the test lets it. */
function createLosableLog() {
  let inner = createMemoryLog()
  let readable: Promise<void> | undefined
  const followers: Follower[] = []
  const log: ChannelLog = {
    ...inner,
    append: (...args) => inner.append(...args),
    async head(key) {
      await readable
      return inner.head(key)
    },
    read: (...args) => inner.read(...args),
    find: (...args) => inner.find(...args),
    follow(key, follower) {
      followers.push(follower)
      return inner.follow(key, follower)
    },
  }
  return {
    log,
    /** Answers what lets it be read. */
    lose(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>()
      readable = promise
      inner = createMemoryLog()
      for (const follower of followers) {
        inner.follow(KEY, follower)
        follower.reset({ epoch: undefined, offset: 0 })
      }
      return resolve
    },
  }
}

test('G8 C14 a turn whose log is lost writes nothing into the new one, not even what waited for it to be read', async () => {
  const { log, lose } = createLosableLog()
  const chat = await startChatServer({}, { log })
  const answer = chat.upstream.hold()
  const client = await chat.join()
  const lost = await say(client, 'hello', { id: 'a' })
  const request = await answer.requested
  answer.say('one ')
  await client.next('ai_stream_chunk')
  const { epoch } = client.position
  const letRead = lose()
  answer.say('two ')
  await settled(client)
  letRead()
  expect(await client.next('welcome', (frame) => frame.epoch !== epoch)).toMatchObject({ resumed: false, offset: 0 })
  expect(await request.over).toBe('aborted')
  await ask(client, 'hello', { id: 'a' })
  const entries = await chat.entries()
  expect(entries[0]).toMatchObject({ type: 'user_message', content: 'hello' })
  expect(entries.filter((entry) => 'turn_id' in entry && entry.turn_id === lost)).toEqual([])
})
