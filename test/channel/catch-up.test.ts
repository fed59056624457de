import { expect, test } from 'vitest'
import { catchUp, type PendingSnapshot, type Reader } from '../../src/channel/catch-up.ts'
import { Channel } from '../../src/channel/channel.ts'
import type { Snapshot } from '../../src/channel/snapshot.ts'
import { createLocalCoordination } from '../../src/coordination/local-coordination.ts'
import type { ChannelLog } from '../../src/log/channel-log.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import type { Entry } from '../../src/protocol/entry.ts'
import { createFakeClock } from '../support/fake-clock.ts'

/** A channel that folds nothing: its snapshot is three frames at the head. */
class BareChannel extends Channel {
  protected override clear(): void {}
  protected override fold(): void {}
  protected override after(): void {}
  protected override loaded(): void {}
  override async snapshot(): Promise<Snapshot> {
    const frames = ['one', 'two', 'three'].map((content) => ({ type: 'echo', content }) as const)
    return { frames, offset: this.head, epoch: this.epoch }
  }
  override hasConversation = () => false
  override post(): void {}
  override isBusy = () => false
  override enter(): void {}
  override tellPresence(): void {}
  override stop(): void {}
}

interface Taken {
  readonly text: string
  readonly offset: number | undefined
}

/** A reader whose socket is congested after so many frames. */
class SomeReader implements Reader {
  epoch = ''
  offset = 0
  snapshot: PendingSnapshot | undefined
  isFresh = true
  conversation_id: string | undefined
  room = Number.POSITIVE_INFINITY
  readonly begun: string[] = []
  readonly wentOn: string[] = []
  readonly taken: Taken[] = []
  begin(epoch: string): void {
    this.begun.push(epoch)
    this.epoch = epoch
    this.moveTo(0)
    this.isFresh = true
  }
  goOn(epoch: string): void {
    this.wentOn.push(epoch)
    this.epoch = epoch
  }
  keep(snapshot: PendingSnapshot): void {
    this.snapshot = snapshot
  }
  take(text: string, offset: number | undefined): boolean {
    this.taken.push({ text, offset })
    if (offset !== undefined) this.offset = offset
    return --this.room > 0
  }
  moveTo(offset: number): void {
    this.offset = offset
    this.snapshot = undefined
    this.isFresh = false
  }
}

async function openChannel(entries: readonly Entry[]) {
  const log = createMemoryLog()
  const channel = new BareChannel(
    { log, coordination: createLocalCoordination(createFakeClock()), clock: createFakeClock() },
    'chat/one',
  )
  await channel.load(true)
  let written = 0
  const write = async (entry: Entry) => {
    await channel.append(entry, 'somebody', ++written)
  }
  for (const entry of entries) await write(entry)
  return { log, channel, write }
}

function resumed(channel: Channel, offset: number): SomeReader {
  const reader = new SomeReader()
  Object.assign(reader, { epoch: channel.epoch, offset, isFresh: false })
  return reader
}

const wanted = () => true
const chunk = (content: string, index: number, turn_id = 't'): Entry => ({
  type: 'ai_stream_chunk',
  turn_id,
  content,
  metadata: { index },
})
const message = (content: string): Entry => ({ type: 'message', content, client_id: 'c' })
const end: Entry = {
  type: 'ai_stream_end',
  turn_id: 't',
  outcome: 'completed',
  finish_reason: 'stop',
  usage: null,
  content: '',
  metadata: { total_words: 1 },
}
const contents = (reader: SomeReader) => reader.taken.map(({ text }) => JSON.parse(text).content)

test('G3 who holds nothing gets the snapshot, whose last frame carries the offset, and goes on from there', async () => {
  const { channel, write } = await openChannel([message('a')])
  const reader = new SomeReader()
  expect(await catchUp(channel, reader, wanted)).toBe('caughtUp')
  expect(reader.taken.map(({ text }) => JSON.parse(text))).toEqual([
    { type: 'echo', content: 'one' },
    { type: 'echo', content: 'two' },
    { type: 'echo', content: 'three', offset: 1 },
  ])
  await write(message('b'))
  await catchUp(channel, reader, wanted)
  expect(contents(reader)).toEqual(['one', 'two', 'three', 'b'])
})

test('G4 a congested reader of a snapshot is at 0 until its last frame, and gets each frame once', async () => {
  const { channel, write } = await openChannel([message('a')])
  const reader = new SomeReader()
  for (const expected of ['one', 'two', 'three']) {
    reader.room = 1
    expect(reader.offset).toBe(0)
    expect(await catchUp(channel, reader, wanted)).toBe('congested')
    expect(contents(reader).at(-1)).toBe(expected)
    await write(message(`meanwhile ${expected}`))
  }
  reader.room = Number.POSITIVE_INFINITY
  expect(await catchUp(channel, reader, wanted)).toBe('caughtUp')
  expect(contents(reader)).toEqual(['one', 'two', 'three', 'meanwhile one', 'meanwhile two', 'meanwhile three'])
  expect(reader.begun).toHaveLength(1)
})

test('G2 entries that nobody sees move the reader on, and are not sent', async () => {
  const { channel } = await openChannel([
    message('a'),
    { type: 'stop', turn_id: 't' },
    message('b'),
    { type: 'attempt', turn_id: 't', attempt: 1, run: 1 },
  ])
  const reader = resumed(channel, 0)
  expect(await catchUp(channel, reader, wanted)).toBe('caughtUp')
  expect(contents(reader)).toEqual(['a', 'b'])
  expect(reader.offset).toBe(4)
})

test('G6 adjacent chunks of one kind and turn are joined, with the last offset and the first index', async () => {
  const { channel } = await openChannel([chunk('a', 0), chunk('b', 1), chunk('c', 0, 'u'), message('m'), chunk('d', 2)])
  const reader = resumed(channel, 0)
  await catchUp(channel, reader, wanted)
  expect(contents(reader)).toEqual(['ab', 'c', 'm', 'd'])
  expect(JSON.parse(reader.taken[0]?.text ?? '')).toEqual({ ...chunk('ab', 0), offset: 2 })
})

test('G2 a long log is read page by page; one who is congested goes on at the next record', async () => {
  const { channel } = await openChannel(Array.from({ length: 2_000 }, (_, at) => message(`${at} ${'x'.repeat(200)}`)))
  const reader = resumed(channel, 0)
  let rounds = 0
  do {
    reader.room = 300
    rounds++
  } while ((await catchUp(channel, reader, wanted)) === 'congested')
  expect(rounds).toBe(7)
  expect(contents(reader).map((content) => Number.parseInt(content, 10))).toEqual(
    Array.from({ length: 2_000 }, (_, at) => at),
  )
})

/** A log of four messages that goes on from its first two under `e2`, and from its first under `e3`, as the test says. */
async function openMovedChannel() {
  const { log, channel } = await openChannel(['a', 'b', 'c', 'd'].map(message))
  const first = channel.epoch
  let epoch = first
  const upTo: Record<string, number> = { [first]: 2 }
  /** Called after a read has been answered, or a head, and before that is known. */
  let meanwhile = () => {}
  let isEmpty = false
  const empty = () => {
    isEmpty = true
  }
  const move = (next: string) => {
    epoch = next
    if (next === 'e3') Object.assign(upTo, { [first]: 1, e2: 1 })
  }
  const moved: ChannelLog = {
    ...log,
    async head(key) {
      if (isEmpty) return { epoch: undefined, offset: 0 }
      const head = { ...(await log.head(key)), epoch }
      meanwhile()
      return head
    },
    async read(key, after, limit) {
      if (isEmpty) return { honoured: false, head: { epoch: undefined, offset: 0 } }
      const head = { ...(await log.head(key)), epoch }
      if (after.epoch !== epoch && after.offset > (upTo[after.epoch] ?? 0)) return { honoured: false, head }
      const page = await log.read(key, { epoch: first, offset: after.offset }, limit)
      meanwhile()
      return { ...page, head }
    },
  }
  const clock = createFakeClock()
  const follower = new BareChannel({ log: moved, coordination: createLocalCoordination(clock), clock }, 'chat/one')
  await follower.load(false)
  return { channel: follower, first, move, empty, onRead: (then: () => void) => (meanwhile = then) }
}

test('G8 a log that goes on under another epoch: who holds no more than it has is told so, and reads on', async () => {
  const { channel, first, move } = await openMovedChannel()
  const [held, lost] = [resumed(channel, 2), resumed(channel, 3)]
  move('e2')
  // The channel has not been told of it.
  expect(channel.epoch).toBe(first)
  for (const reader of [held, lost]) expect(await catchUp(channel, reader, wanted)).toBe('caughtUp')
  expect(channel.epoch).toBe('e2')
  expect([held.wentOn, held.begun, contents(held)]).toEqual([['e2'], [], ['c', 'd']])
  expect([lost.wentOn, lost.begun, contents(lost)]).toEqual([[], ['e2'], ['one', 'two', 'three']])
  for (const reader of [held, lost]) expect(reader).toMatchObject({ epoch: 'e2', offset: 4 })
})

test('G8 a log that is lost while one reads of its next epoch: that epoch is not taken up again', async () => {
  const { channel, first, move, empty, onRead } = await openMovedChannel()
  const reader = resumed(channel, 2)
  move('e2')
  channel.reset({ epoch: 'e2', offset: 4 })
  onRead(() => {
    onRead(() => {})
    empty()
    channel.reset({ epoch: undefined, offset: 0 })
  })
  expect(await catchUp(channel, reader, wanted)).toBe('caughtUp')
  expect([first, 'e2']).not.toContain(channel.epoch)
  expect(channel.head).toBe(0)
})

test('a record was taken out at the end of a log: it is read to its end all the same', async () => {
  const { channel, log } = await openChannel(['a', 'b', 'c'].map(message))
  const without: ChannelLog = {
    ...log,
    async read(key, after, limit) {
      const page = await log.read(key, after, limit)
      return page.honoured ? { ...page, records: page.records.filter(({ offset }) => offset < 3) } : page
    },
  }
  const clock = createFakeClock()
  const parts = { log: without, coordination: createLocalCoordination(clock), clock }
  const follower = new BareChannel(parts, 'chat/one')
  await follower.load(false)
  expect(follower).toMatchObject({ epoch: channel.epoch, head: 3 })
  await follower.readToHead()
})

test('G8 a log that has lost its end without a word: nobody reads it in vain', async () => {
  const { channel, log } = await openChannel(['a', 'b', 'c'].map(message))
  let reads = 0
  const shortened: ChannelLog = {
    ...log,
    head: async (key) => ({ ...(await log.head(key)), offset: 2 }),
    async read(key, after, limit) {
      if (reads++ > 9) throw new Error('it is read in vain')
      const head = { epoch: channel.epoch, offset: 2 }
      const page = await log.read(key, after, limit)
      return page.honoured ? { honoured: true, head, records: page.records.filter(({ offset }) => offset < 3) } : page
    },
  }
  const clock = createFakeClock()
  const parts = { log: shortened, coordination: createLocalCoordination(clock), clock }
  const follower = new BareChannel(parts, 'chat/one')
  await follower.load(false)
  // It had three before.
  follower.head = 3
  const reader = resumed(follower, 1)
  expect(await catchUp(follower, reader, wanted)).toBe('caughtUp')
  expect([contents(reader), follower.head]).toEqual([['b'], 2])
})

test('C14 G8 who is to know all that was written, such as by the holder of a lease before, knows it of the next epoch, too', async () => {
  const { channel, move } = await openMovedChannel()
  move('e2')
  await channel.readToHead()
  expect(channel).toMatchObject({ epoch: 'e2', head: 4 })
})

test('G8 another epoch between the head and a page of it: the log is read anew, under that epoch', async () => {
  const { channel, move, onRead } = await openMovedChannel()
  onRead(() => {
    onRead(() => {})
    move('e2')
  })
  await channel.load(false)
  expect(channel).toMatchObject({ epoch: 'e2', head: 4 })
})

test('G8 a page that was read before another epoch came is not taken for one of that epoch', async () => {
  const { channel, move, onRead } = await openMovedChannel()
  const reader = resumed(channel, 2)
  move('e2')
  onRead(() => {
    onRead(() => {})
    move('e3')
    channel.reset({ epoch: 'e3', offset: 4 })
  })
  expect(await catchUp(channel, reader, wanted)).toBe('caughtUp')
  // Under e2 he would have gone on; of what he holds, e3 has lost a part.
  expect([reader.wentOn, reader.begun, reader.epoch]).toEqual([[], ['e3'], 'e3'])
})

test('G8 under another epoch, and inside a folded turn, he begins anew', async () => {
  const { channel, log } = await openChannel([chunk('a', 0), chunk('b', 1), chunk('c', 2), end])
  const stranger = resumed(channel, 2)
  stranger.epoch = 'another'
  expect(await catchUp(channel, stranger, wanted)).toBe('caughtUp')
  expect(stranger.begun).toEqual([channel.epoch])
  await log.fold(Date.now() + 1_000)
  const inside = resumed(channel, 2)
  expect(await catchUp(channel, inside, wanted)).toBe('caughtUp')
  expect(inside.begun).toEqual([channel.epoch])
  expect(inside.offset).toBe(4)
})

test('G10 who is not waiting any more is sent nothing', async () => {
  const { channel } = await openChannel([message('a')])
  for (const reader of [resumed(channel, 0), new SomeReader()]) {
    expect(await catchUp(channel, reader, () => false)).toBe('left')
    expect(reader.taken).toEqual([])
  }
})
