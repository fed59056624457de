import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type {
  Appended,
  AppendOptions,
  ChannelLog,
  Follower,
  Head,
  LogRecord,
  ReadLimit,
} from '../../src/log/channel-log.ts'
import type { Entry } from '../../src/protocol/entry.ts'

/** One adapter with an empty store. */
export interface LogUnderTest {
  readonly log: ChannelLog
  /** Closes the log and opens its store again; for stores that outlive the log. */
  reopen?(): Promise<ChannelLog>
  /** Ends what was opened last. */
  close(): Promise<void>
}

const ALL: ReadLimit = { records: 10_000, bytes: 1_000_000_000 }
const START = 1_000_000

/**
 * The contract of the `channel-log` port, sentence by sentence, for any adapter. `now` is in ms since 1970. `outlives`
 * says whether the store outlives the log, and is to be opened again.
 */
export function channelLogContract(
  name: string,
  { outlives, open }: { readonly outlives: boolean; open(now: () => number): Promise<LogUnderTest> },
): void {
  describe(`channel-log contract: ${name}`, () => {
    let under: LogUnderTest
    let log: ChannelLog
    let time: number

    beforeEach(async () => {
      time = START
      under = await open(() => time)
      log = under.log
    })
    afterEach(() => under.close())

    const records = async (key = 'room/a', after = { epoch: 'e1', offset: 0 }, limit = ALL) => {
      const result = await log.read(key, after, limit)
      return result.honoured ? result.records : 'not honoured'
    }
    const offsets = async (key = 'room/a', after = { epoch: 'e1', offset: 0 }, limit = ALL) => {
      const found = await records(key, after, limit)
      return found === 'not honoured' ? found : found.map(({ offset }) => offset)
    }
    const say = (content: string, options: Partial<AppendOptions> = {}, key = 'room/a') =>
      log.append(key, message(content), by({ sequence: content, ...options }))
    /** Appends one by one, as turn `t1` does. */
    const tell = async (key: string, entries: readonly Entry[], producer = 'turn:t1'): Promise<Appended[]> => {
      const appended: Appended[] = []
      for (const entry of entries) {
        const seenHead = (await log.head(key)).offset
        appended.push(await log.append(key, entry, by({ producer, sequence: seenHead + 1, seenHead })))
      }
      return appended
    }

    describe('append', () => {
      test('G1 assigns rising offsets from 1, and the epoch that the first append proposed', async () => {
        expect(await say('one')).toEqual({ epoch: 'e1', offset: 1, repeated: false })
        expect(await say('two', { seenHead: 1 })).toEqual({ epoch: 'e1', offset: 2, repeated: false })
        expect(await log.head('room/a')).toEqual({ epoch: 'e1', offset: 2 })
      })

      test('G14 the first append fixes the epoch: a later proposal is answered with the fixed one', async () => {
        const [first, second] = await Promise.all([say('one', { epoch: 'mine' }), say('two', { epoch: 'yours' })])
        expect(first).toEqual({ epoch: 'mine', offset: 1, repeated: false })
        expect(second).toEqual({ epoch: 'mine', offset: 2, repeated: false })
      })

      test('keeps the order of the calls, channel by channel', async () => {
        const keys = ['room/a', 'room/b', 'chat/a']
        const asked = Array.from({ length: 300 }, (_, n) => say(`m${n}`, {}, keys[n % 3]))
        expect((await Promise.all(asked)).map(({ offset }) => offset)).toEqual(
          asked.map((_, n) => Math.floor(n / 3) + 1),
        )
        for (const [k, key] of keys.entries()) {
          const found = await records(key)
          expect(found === 'not honoured' ? found : found.map((record) => contentOf(record))).toEqual(
            Array.from({ length: 100 }, (_, n) => `m${n * 3 + k}`),
          )
        }
      })

      test('C7 a repeated id writes nothing and answers the stored offset', async () => {
        await say('one')
        await say('two')
        expect(await say('again', { sequence: 'one', seenHead: 2 })).toEqual({ epoch: 'e1', offset: 1, repeated: true })
        expect(await offsets()).toEqual([1, 2])
      })

      test('C7 of concurrent repeats one is written', async () => {
        const all = await Promise.all(Array.from({ length: 20 }, () => say('same')))
        expect(all.filter(({ repeated }) => !repeated)).toHaveLength(1)
        expect(new Set(all.map(({ offset }) => offset))).toEqual(new Set([1]))
        expect(await offsets()).toEqual([1])
      })

      test('C5 a judged entry is refused as stale behind another one that its writer has not read', async () => {
        expect(await say('one', { judgedAt: 0 })).toMatchObject({ offset: 1 })
        await expect(say('two', { judgedAt: 0, epoch: 'e2' })).rejects.toMatchObject({ code: 'stale' })
        expect(await log.head('room/a')).toEqual({ epoch: 'e1', offset: 1 })
        expect(await say('one', { judgedAt: 0 })).toMatchObject({ offset: 1, repeated: true })
        expect(await say('two', { judgedAt: 1, seenHead: 1 })).toMatchObject({ offset: 2 })
        // What nobody judged is in nobody's way.
        await say('three', { seenHead: 2 })
        expect(await say('four', { judgedAt: 2, seenHead: 2 })).toMatchObject({ offset: 4 })
        expect(await offsets()).toEqual([1, 2, 3, 4])
      })

      test('a repeated number writes nothing; an earlier one is answered with its own offset', async () => {
        for (const sequence of [1, 2, 3]) await say(`m${sequence}`, { producer: 'turn:t', sequence })
        for (const sequence of [1, 2, 3]) {
          const repeat = await say('again', { producer: 'turn:t', sequence, seenHead: 3 })
          expect(repeat).toEqual({ epoch: 'e1', offset: sequence, repeated: true })
        }
        const twice = await Promise.all([4, 4].map((sequence) => say('m4', { producer: 'turn:t', sequence })))
        expect(twice.map(({ repeated }) => repeated)).toEqual([false, true])
        expect(await offsets()).toEqual([1, 2, 3, 4])
      })

      test('numbers may have gaps, and need not be whole', async () => {
        expect((await say('a', { producer: 'turn:t', sequence: 7 })).repeated).toBe(false)
        expect((await say('b', { producer: 'turn:t', sequence: 7.5 })).repeated).toBe(false)
        expect((await say('c', { producer: 'turn:t', sequence: 700 })).repeated).toBe(false)
        expect((await say('d', { producer: 'turn:t', sequence: 7.5 })).offset).toBe(2)
      })

      test('producers, channels, and the number 1 and the id "1" are told apart', async () => {
        const all = [
          await say('a', { producer: 'p', sequence: 1 }),
          await say('b', { producer: 'p', sequence: '1' }),
          await say('c', { producer: 'q', sequence: 1 }),
          await say('d', { producer: 'q', sequence: '1' }),
          await say('e', { producer: 'p', sequence: 1 }, 'room/b'),
          await say('f', { producer: 'p', sequence: '' }),
          await say('g', { producer: 'p', sequence: '#' }),
          await say('h', { producer: 'p', sequence: '\ud800' }),
          await say('i', { producer: 'p', sequence: '\ud801' }),
          await say('j', { producer: 'p', sequence: 'a\0b' }),
          await say('k', { producer: 'p', sequence: 'a\0c' }),
        ]
        expect(all.map(({ repeated }) => repeated)).toEqual(all.map(() => false))
      })

      test('any text comes back as it was', async () => {
        const content = 'nul \0, quote ", line \u2028, lone \ud83d, pair 😀, עברית'
        await say(content)
        expect((await records())[0]).toMatchObject({ entry: message(content), text: JSON.stringify(message(content)) })
      })

      test('a lower fence than the channel has seen is refused, and nothing is written', async () => {
        await say('one', { fence: 5 })
        await expect(say('two', { fence: 4 })).rejects.toMatchObject({ name: 'LogError', code: 'fenced' })
        await expect(say('one', { fence: 4 })).rejects.toMatchObject({ code: 'fenced' })
        expect((await say('three', { fence: 5 })).offset).toBe(2)
        expect((await say('four', { fence: 6 })).offset).toBe(3)
        await expect(say('five', { fence: 5 })).rejects.toMatchObject({ code: 'fenced' })
        expect((await say('six')).offset).toBe(4)
        expect((await say('one', { fence: 1 }, 'room/b')).offset).toBe(1)
      })

      test('one entry refused does not fail the others asked at the same time', async () => {
        await say('one', { fence: 5 })
        const all = await Promise.allSettled([
          say('two'),
          say('late', { fence: 1 }),
          say('three'),
          say('x', {}, 'room/b'),
        ])
        expect(all.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
        expect(await offsets()).toEqual([1, 2, 3])
      })

      test('G8 a head below what the writer has seen begins a new epoch, and resets followers before the record', async () => {
        await say('one')
        const heard = follow('room/a')
        const { epoch, offset } = await say('two', { seenHead: 9 })
        expect(epoch).not.toBe('e1')
        expect(epoch).toMatch(/^[A-Za-z0-9_-]{1,64}$/)
        expect(offset).toBe(2)
        expect(heard).toEqual([{ reset: { epoch, offset: 1 } }, { record: 2 }])
        expect(await offsets('room/a', { epoch: 'e1', offset: 1 })).toBe('not honoured')
        expect(await offsets('room/a', { epoch, offset: 1 })).toEqual([2])
        // A writer that had not heard of it yet causes no third epoch.
        expect((await say('three', { seenHead: 9 })).epoch).toBe(epoch)
      })

      test('G8 a channel that lost everything does not begin again under the epoch that its writer knows', async () => {
        const heard = follow('room/a')
        const { epoch, offset } = await say('one', { seenHead: 3 })
        expect(epoch).not.toBe('e1')
        expect(offset).toBe(1)
        expect(heard).toEqual([{ reset: { epoch, offset: 0 } }, { record: 1 }])
      })

      test('a writer that has seen less than there is (others write, too) goes on', async () => {
        await say('one')
        await say('two')
        expect(await say('three', { seenHead: 0 })).toEqual({ epoch: 'e1', offset: 3, repeated: false })
      })
    })

    describe('head and read', () => {
      test('G14 a channel without entries has no epoch; only offset 0 is honoured there', async () => {
        expect(await log.head('room/a')).toEqual({ epoch: undefined, offset: 0 })
        const head = { epoch: undefined, offset: 0 }
        expect(await log.read('room/a', { epoch: 'e1', offset: 0 }, ALL)).toEqual({ honoured: true, head, records: [] })
        expect(await log.read('room/a', { epoch: 'e1', offset: 1 }, ALL)).toEqual({ honoured: false, head })
      })

      test('G2 answers exactly what stands after the position, with its text and time', async () => {
        for (const content of ['one', 'two', 'three']) {
          await say(content)
          time += 10
        }
        const result = await log.read('room/a', { epoch: 'e1', offset: 1 }, ALL)
        expect(result).toEqual({
          honoured: true,
          head: { epoch: 'e1', offset: 3 },
          records: [
            { offset: 2, entry: message('two'), text: JSON.stringify(message('two')), time: START + 10 },
            { offset: 3, entry: message('three'), text: JSON.stringify(message('three')), time: START + 20 },
          ],
        })
      })

      test('G2 at the head there is nothing', async () => {
        await say('one')
        expect(await offsets('room/a', { epoch: 'e1', offset: 1 })).toEqual([])
      })

      test('G5 above the head and under another epoch it is not honoured; offset 0 is, under any', async () => {
        await say('one')
        expect(await offsets('room/a', { epoch: 'e1', offset: 2 })).toBe('not honoured')
        expect(await offsets('room/a', { epoch: 'e2', offset: 1 })).toBe('not honoured')
        expect(await offsets('room/a', { epoch: 'e2', offset: 0 })).toEqual([1])
      })

      test('returns no more than the limit, and at least one record', async () => {
        for (const content of ['aaaa', 'bbbb', 'cccc', 'dddd']) await say(content)
        const size = JSON.stringify(message('aaaa')).length
        const after = { epoch: 'e1', offset: 1 }
        expect(await offsets('room/a', after, { records: 2, bytes: 1e9 })).toEqual([2, 3])
        expect(await offsets('room/a', after, { records: 9, bytes: size * 2 })).toEqual([2, 3])
        expect(await offsets('room/a', after, { records: 9, bytes: size * 2 - 1 })).toEqual([2])
        expect(await offsets('room/a', after, { records: 9, bytes: 1 })).toEqual([2])
        const result = await log.read('room/a', after, { records: 1, bytes: 1 })
        expect(result.head).toEqual({ epoch: 'e1', offset: 4 })
      })

      test('a page holds all that its limit allows, whatever the sizes of the records', async () => {
        const sizes = [1, 1, 1, 900, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 900, 900, 1, 1, 3_000, 1, 1, 300, 300, 1]
        for (const [n, size] of sizes.entries()) await say(`${n} `.padEnd(size, 'x'))
        const all = await records()
        if (all === 'not honoured') throw new Error(all)
        for (const limit of [
          { records: 5, bytes: 1e9 },
          { records: 100, bytes: 1_000 },
          { records: 100, bytes: 2_000 },
          { records: 7, bytes: 1_500 },
        ]) {
          for (let from = 0; from < all.length; ) {
            const page = await offsets('room/a', { epoch: 'e1', offset: from }, limit)
            let to = from + 1
            let bytes = all[from]?.text.length ?? 0
            while (to < all.length && to - from < limit.records) {
              bytes += all[to]?.text.length ?? 0
              if (bytes > limit.bytes) break
              to++
            }
            expect(page).toEqual(all.slice(from, to).map(({ offset }) => offset))
            from = to
          }
        }
      })

      test('sees what was asked to be appended before it', async () => {
        const appends = [say('one'), say('two')]
        const [head, found, record] = await Promise.all([
          log.head('room/a'),
          offsets(),
          log.find('room/a', 'client:anonymous', 'two'),
        ])
        expect(head).toEqual({ epoch: 'e1', offset: 2 })
        expect(found).toEqual([1, 2])
        expect(record?.offset).toBe(2)
        await Promise.all(appends)
      })
    })

    describe('find', () => {
      test('C7 answers the entry written under an id or a number, and undefined where there is none', async () => {
        await say('one', { sequence: 'id-1' })
        for (const sequence of [1, 2, 4]) await say(`m${sequence}`, { producer: 'turn:t', sequence })
        expect(await log.find('room/a', 'client:anonymous', 'id-1')).toEqual({
          offset: 1,
          entry: message('one'),
          text: JSON.stringify(message('one')),
          time: START,
        })
        expect((await log.find('room/a', 'turn:t', 1))?.entry).toEqual(message('m1'))
        expect((await log.find('room/a', 'turn:t', 4))?.offset).toBe(4)
        expect(await log.find('room/a', 'turn:t', 3)).toBeUndefined()
        expect(await log.find('room/a', 'turn:t', 5)).toBeUndefined()
        expect(await log.find('room/a', 'turn:t', '1')).toBeUndefined()
        expect(await log.find('room/a', 'client:other', 'id-1')).toBeUndefined()
        expect(await log.find('room/b', 'client:anonymous', 'id-1')).toBeUndefined()
      })
    })

    describe('follow', () => {
      test('G1 tells of each append once, in order, before its promise settles; repeats are not told', async () => {
        const heard: (string | number)[] = []
        log.follow('room/a', { record: ({ offset }) => heard.push(offset), reset: () => heard.push('reset') })
        const asked = ['one', 'two', 'one', 'three'].map(async (content) => {
          const { offset, repeated } = await say(content)
          heard.push(`${offset}${repeated ? ' repeated' : ''}`)
        })
        await Promise.all(asked)
        expect(heard.filter((what) => typeof what === 'number')).toEqual([1, 2, 3])
        for (const offset of [1, 2, 3]) expect(heard.indexOf(offset)).toBeLessThan(heard.indexOf(`${offset}`))
        expect(heard).toContain('1 repeated')
      })

      test('gives the record as a read does', async () => {
        const heard: LogRecord[] = []
        log.follow('room/a', { record: (record) => heard.push(record), reset: () => {} })
        await say('one')
        expect(heard).toEqual(await records())
      })

      test('tells of its own channel only, all who follow it, until they end it', async () => {
        const first = follow('room/a')
        const heard: number[] = []
        const follower: Follower = { record: ({ offset }) => heard.push(offset), reset: () => {} }
        const end = log.follow('room/a', follower)
        log.follow('room/a', follower)
        await say('one')
        await say('other', {}, 'room/b')
        end()
        end()
        await say('two')
        expect(first).toEqual([{ record: 1 }, { record: 2 }])
        expect(heard).toEqual([1, 1, 2])
      })

      test('one that ends itself in its own call leaves the others their records', async () => {
        const heard: string[] = []
        const end = log.follow('room/a', {
          record: () => {
            heard.push('first')
            end()
          },
          reset: () => {},
        })
        log.follow('room/a', { record: () => heard.push('second'), reset: () => {} })
        await say('one')
        await say('two')
        expect(heard).toEqual(['first', 'second', 'second'])
      })
    })

    describe('unfinished', () => {
      test('C14 names the channels with a turn that has no terminal entry', async () => {
        await tell('chat/a', [user('t1'), typing('t1')])
        await tell('chat/b', [user('t1'), user('t2'), end('t1')])
        await tell('chat/c', [user('t1'), typing('t1'), end('t1')])
        await tell('chat/d', [user('t1'), end('t1'), { ...typing('t2'), regenerates: 't1' }])
        await say('hello')
        expect([...(await log.unfinished())].sort()).toEqual(['chat/a', 'chat/b', 'chat/d'])
        await tell('chat/a', [end('t1')])
        await tell('chat/b', [end('t2')])
        await tell('chat/d', [end('t2')])
        expect(await log.unfinished()).toEqual([])
      })
    })

    describe('fold', () => {
      const key = 'chat/a'
      /** 1 user, 2 typing, 3 reasoning, 4 and 5 text, 6 a message that waits, 7 text, 8 end of t1, 9 typing of t2. */
      const turn = [
        user('t1'),
        typing('t1'),
        chunk('t1', 'hm', 'ai_reasoning_chunk'),
        chunk('t1', 'a'),
        chunk('t1', 'b'),
        user('t2'),
        chunk('t1', 'c'),
        end('t1'),
        typing('t2'),
      ]
      const folded = { type: 'ai_message', turn_id: 't1', content: 'abc', reasoning: 'hm' }

      test("G7 a turn's chunks become one ai_message at the offset of the last; all else stays", async () => {
        await tell(key, turn)
        time += 1000
        const before = await records(key)
        expect(await log.fold(time)).toBe(1)
        const after = await records(key)
        if (before === 'not honoured' || after === 'not honoured') throw new Error('not honoured')
        expect(after.map(({ offset }) => offset)).toEqual([1, 2, 6, 7, 8, 9])
        expect(after[3]).toEqual({ offset: 7, entry: folded, text: JSON.stringify(folded), time: START })
        const kept = before.filter(({ offset }) => [1, 2, 6, 8, 9].includes(offset))
        expect(after.filter(({ offset }) => offset !== 7)).toEqual(kept)
        expect(await log.head(key)).toEqual({ epoch: 'e1', offset: 9 })
      })

      test('G5 positions from the first chunk up to the last are not honoured afterwards; those around are', async () => {
        await tell(key, turn)
        await log.fold(time + 1)
        const found = []
        for (let offset = 0; offset <= 9; offset += 1) found.push(await offsets(key, { epoch: 'e1', offset }))
        const no = 'not honoured'
        const rest = [[8, 9], [9], []]
        expect(found).toEqual([[1, 2, 6, 7, 8, 9], [2, 6, 7, 8, 9], [6, 7, 8, 9], no, no, no, no, ...rest])
      })

      test('G7 reading on page by page is honoured all the way, whatever the limit', async () => {
        await tell(key, turn)
        await log.fold(time + 1)
        for (const limit of [
          { records: 1, bytes: 1e9 },
          { records: 3, bytes: 1e9 },
          { records: 9, bytes: 1 },
        ]) {
          const read: number[] = []
          for (let offset = 0; offset < 9; offset = read.at(-1) ?? 9) {
            const page = await offsets(key, { epoch: 'e1', offset }, limit)
            if (page === 'not honoured') throw new Error(`not honoured at ${offset}`)
            read.push(...page)
          }
          expect(read).toEqual([1, 2, 6, 7, 8, 9])
        }
      })

      test('G7 of folded turns one after the other, a page holds what its limit allows', async () => {
        const all: Entry[] = []
        for (const [n, size] of [10, 2_000, 10, 10, 2_000, 2_000].entries()) {
          const id = `t${n}`
          all.push(user(id), typing(id), chunk(id, 'x'.repeat(size)), user(`w${n}`), chunk(id, 'y'), end(id))
        }
        await tell(key, all)
        expect(await log.fold(time + 1)).toBe(6)
        const whole = await offsets(key)
        for (const limit of [
          { records: 1, bytes: 1e9 },
          { records: 4, bytes: 1e9 },
          { records: 100, bytes: 1_000 },
          { records: 100, bytes: 3_000 },
        ]) {
          const read: number[] = []
          for (let offset = 0; offset < 36; offset = read.at(-1) ?? 36) {
            const page = await records(key, { epoch: 'e1', offset }, limit)
            if (page === 'not honoured') throw new Error(`not honoured at ${offset}`)
            // (What waited within a turn goes with its answer.)
            expect(page.length).toBeLessThanOrEqual(limit.records + 2)
            if (page.length > 3)
              expect(page.slice(0, -2).reduce((sum, { text }) => sum + text.length, 0)).toBeLessThanOrEqual(limit.bytes)
            read.push(...page.map((record) => record.offset))
          }
          expect(read).toEqual(whole)
        }
      })

      test('folds only turns that ended before the time, and each once', async () => {
        await tell(key, turn)
        expect(await log.fold(time)).toBe(0)
        expect(await offsets(key)).toHaveLength(9)
        expect(await log.fold(time + 1)).toBe(1)
        expect(await log.fold(time + 1)).toBe(0)
        expect(await offsets(key)).toEqual([1, 2, 6, 7, 8, 9])
      })

      test('a turn that runs stays as it is, and is folded after its end', async () => {
        await tell(key, turn.slice(0, 7))
        time += 1000
        expect(await log.fold(time)).toBe(0)
        await tell(key, [end('t1')])
        time += 1000
        expect(await log.fold(time)).toBe(1)
      })

      test('a waiting turn that was stopped between the chunks is stepped over', async () => {
        const stopped = { ...end('t2'), outcome: 'stopped' } as const
        await tell(key, [user('t1'), typing('t1'), chunk('t1', 'a'), user('t2'), stopped, chunk('t1', 'b'), end('t1')])
        expect(await log.fold(time + 1)).toBe(1)
        const found = await records(key)
        expect(found === 'not honoured' ? found : found.map(({ entry }) => entry)).toEqual([
          user('t1'),
          typing('t1'),
          user('t2'),
          stopped,
          { type: 'ai_message', turn_id: 't1', content: 'ab' },
          end('t1'),
        ])
      })

      test('turns one after the other, with one chunk, and with none', async () => {
        await tell(key, [user('t1'), typing('t1'), chunk('t1', 'one'), end('t1')])
        await tell(key, [user('t2'), typing('t2'), end('t2')], 'turn:t2')
        await tell(key, [user('t3'), typing('t3'), chunk('t3', 'x'), chunk('t3', 'y'), end('t3')], 'turn:t3')
        expect(await log.fold(time + 1)).toBe(2)
        expect(await offsets(key)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12])
        expect(await offsets(key, { epoch: 'e1', offset: 3 })).toEqual([4, 5, 6, 7, 8, 9, 11, 12])
        expect(await offsets(key, { epoch: 'e1', offset: 10 })).toBe('not honoured')
        const found = await records(key, { epoch: 'e1', offset: 9 })
        expect(found === 'not honoured' ? found : found[0]?.entry).toEqual({
          type: 'ai_message',
          turn_id: 't3',
          content: 'xy',
        })
      })

      test('what was folded is not found any more, is a repeat still, and the channel goes on', async () => {
        await tell(key, turn)
        await log.fold(time + 1)
        expect(await log.find(key, 'turn:t1', 3)).toBeUndefined()
        expect(await log.find(key, 'turn:t1', 7)).toBeUndefined()
        expect((await log.find(key, 'turn:t1', 8))?.offset).toBe(8)
        expect(await log.append(key, end('t1'), by({ producer: 'turn:t1', sequence: 8, seenHead: 9 }))).toEqual({
          epoch: 'e1',
          offset: 8,
          repeated: true,
        })
        const again = await log.append(key, chunk('t1', 'a'), by({ producer: 'turn:t1', sequence: 4, seenHead: 9 }))
        expect(again.repeated).toBe(true)
        expect(await log.append(key, user('t3'), by({ sequence: 'n', seenHead: 9 }))).toMatchObject({ offset: 10 })
      })

      test('followers are not told', async () => {
        await tell(key, turn)
        const heard = follow(key)
        await log.fold(time + 1)
        await tell(key, [end('t2')])
        expect(heard).toEqual([{ record: 10 }])
      })
    })

    describe('expire', () => {
      test('G15 forgets channels whose last append was before, but not those to keep', async () => {
        for (const key of ['room/a', 'room/b', 'room/c']) await say('old', {}, key)
        time += 1000
        await say('new', {}, 'room/b')
        const heard = follow('room/a')
        expect(await log.expire(START, new Set())).toEqual([])
        expect(await log.expire(time, new Set(['room/c']))).toEqual(['room/a'])
        expect(heard).toEqual([{ reset: { epoch: undefined, offset: 0 } }])
        expect(await log.head('room/a')).toEqual({ epoch: undefined, offset: 0 })
        expect(await log.find('room/a', 'client:anonymous', 'old')).toBeUndefined()
        expect(await offsets('room/b')).toEqual([1, 2])
        expect(await offsets('room/c')).toEqual([1])
        expect([...(await log.expire(time + 1, new Set()))].sort()).toEqual(['room/b', 'room/c'])
        expect(await log.expire(time + 1, new Set())).toEqual([])
      })

      test('G15 a forgotten channel begins afresh: another epoch, no repeats, no fence', async () => {
        await say('one', { fence: 9 })
        await log.expire(time + 1, new Set())
        expect(await say('one', { epoch: 'e2', fence: 1 })).toEqual({ epoch: 'e2', offset: 1, repeated: false })
        expect(await offsets('room/a', { epoch: 'e1', offset: 1 })).toBe('not honoured')
      })

      test('G15 a channel whose turn runs stays', async () => {
        await tell('chat/a', [user('t1')])
        expect(await log.expire(time + 1, new Set())).toEqual([])
        await tell('chat/a', [end('t1')])
        expect(await log.expire(time + 1, new Set())).toEqual(['chat/a'])
        expect(await log.fold(time + 1)).toBe(0)
      })
    })

    describe('check and close', () => {
      test('check resolves where an append would work, and describes itself in words', async () => {
        await expect(log.check()).resolves.toBeUndefined()
        expect(log.description).not.toBe('')
      })

      test('close finishes what was asked; everything after it is refused', async () => {
        const asked = [say('one'), say('two'), log.fold(time)]
        const closed = log.close()
        await Promise.all([...asked, closed])
        const refused = [
          say('three'),
          log.head('room/a'),
          log.read('room/a', { epoch: 'e1', offset: 0 }, ALL),
          log.find('room/a', 'p', 's'),
          log.unfinished(),
          log.fold(0),
          log.expire(0, new Set()),
          log.check(),
        ]
        for (const answer of refused) await expect(answer).rejects.toMatchObject({ name: 'LogError', code: 'closed' })
        await log.close()
      })

      if (!outlives) return

      test('G2 what was acknowledged is there after opening again: entries, epoch, repeats, fence, folds', async () => {
        if (under.reopen === undefined) throw new Error('this adapter has no reopen')
        await tell('chat/a', [user('t1'), typing('t1'), chunk('t1', 'a'), chunk('t1', 'b'), end('t1'), user('t2')])
        await log.fold(time + 1)
        await say('one', { fence: 5 })
        await say('two', { producer: 'turn:x', sequence: 7 })
        await say('last', { fence: 6 })
        const before = await records('chat/a')
        log = await under.reopen()
        expect(await records('chat/a')).toEqual(before)
        expect(await offsets('chat/a', { epoch: 'e1', offset: 3 })).toBe('not honoured')
        expect(await log.unfinished()).toEqual(['chat/a'])
        expect(await say('one', { epoch: 'e9' })).toEqual({ epoch: 'e1', offset: 1, repeated: true })
        expect(await say('two', { producer: 'turn:x', sequence: 7 })).toMatchObject({ offset: 2, repeated: true })
        expect(await say('two', { producer: 'turn:x', sequence: 6 })).toMatchObject({ repeated: true })
        await expect(say('three', { fence: 5 })).rejects.toMatchObject({ code: 'fenced' })
        expect(await say('four', { producer: 'turn:x', sequence: 8 })).toMatchObject({ offset: 4, repeated: false })
      })
    })

    function follow(key: string): ({ record: number } | { reset: Head })[] {
      const heard: ({ record: number } | { reset: Head })[] = []
      log.follow(key, {
        record: ({ offset }) => heard.push({ record: offset }),
        reset: (head) => heard.push({ reset: head }),
      })
      return heard
    }
  })
}

function by(options: Partial<AppendOptions>): AppendOptions {
  return { producer: 'client:anonymous', sequence: 's', seenHead: 0, epoch: 'e1', ...options }
}

function message(content: string) {
  return { type: 'message', content, client_id: 'c1' } as const
}

function contentOf({ entry }: LogRecord): string | undefined {
  return entry.type === 'message' ? entry.content : undefined
}

function user(turn_id: string) {
  return { type: 'user_message', turn_id, content: 'hi', client_id: 'c1', conversation_id: 'v1' } as const
}

function typing(turn_id: string) {
  return { type: 'typing', turn_id } as const
}

function chunk(turn_id: string, content: string, type: 'ai_stream_chunk' | 'ai_reasoning_chunk' = 'ai_stream_chunk') {
  return { type, turn_id, content, metadata: { index: 0 } } as const
}

function end(turn_id: string) {
  const nothing = { finish_reason: 'stop', usage: null, content: '', metadata: { total_words: 0 } } as const
  return { type: 'ai_stream_end', turn_id, outcome: 'completed', ...nothing } as const
}
