import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type Appended, type ChannelLog, type Follower, LogUnreachable } from '../../src/log/channel-log.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import type { Entry } from '../../src/protocol/entry.ts'
import { ask, framesOf, say, settled, startChatServer } from '../support/chat-server.ts'
import { until } from '../support/redis.ts'

const KEY = 'ai-chat/one'

/** A log that may be lost: then it is an empty one, which cannot be read before the test lets it. `append` is what each goes through. */
function createLosableLog(append = (_entry: Entry, go: () => Promise<Appended>) => go()) {
  let inner = createMemoryLog()
  let readable: Promise<void> | undefined
  const followers: Follower[] = []
  const log: ChannelLog = {
    ...inner,
    append: (...args) => append(args[1], () => inner.append(...args)),
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

test('C18 the end of a turn that could not be written, and went with its log meanwhile: nobody is told that it stands still', async () => {
  const ending = Promise.withResolvers<void>()
  const refused = Promise.withResolvers<Appended>()
  const { log, lose } = createLosableLog((entry, go) => {
    if (entry.type !== 'ai_stream_end') return go()
    ending.resolve()
    return refused.promise
  })
  const chat = await startChatServer({}, { log })
  const answer = chat.upstream.hold()
  const client = await chat.join()
  await say(client, 'hello')
  await answer.requested
  answer.say('one ')
  answer.finish()
  await ending.promise
  const { epoch } = client.position
  lose()()
  await client.next('welcome', (frame) => frame.epoch !== epoch)
  refused.reject(new LogUnreachable('Redis did not answer in time'))
  await settled(client)
  expect(framesOf(client, 'error')).toEqual([])
})

test('G2 G8 a log that changes while it is read for the first time: who joins meanwhile gets its first entry', async () => {
  const inner = createMemoryLog()
  const heads: PromiseWithResolvers<void>[] = []
  const followers: Follower[] = []
  const log: ChannelLog = {
    ...inner,
    async head(key) {
      const asked = Promise.withResolvers<void>()
      heads.push(asked)
      await asked.promise
      return inner.head(key)
    },
    follow(key, follower) {
      followers.push(follower)
      return inner.follow(key, follower)
    },
  }
  const chat = await startChatServer({}, { log })
  const joining = chat.join()
  await until(() => heads.length === 1)
  // Another process fixes the epoch of the empty log, and appends to it before it has been read.
  followers[0]?.reset({ epoch: 'e1', offset: 0 })
  heads[0]?.resolve()
  await until(() => heads.length === 2)
  // (Who was let in by the first reading would have his empty history by now.)
  await setTimeout(50)
  const message = {
    type: 'user_message',
    turn_id: 't',
    content: 'hello',
    client_id: 'c',
    conversation_id: 'k',
  } as const
  await inner.append(KEY, message, { producer: 'client', sequence: 'a', seenHead: 0, epoch: 'e1' })
  heads[1]?.resolve()
  const client = await joining
  expect(await client.next('history')).toMatchObject({ messages: [{ content: 'hello' }] })
})
