import { type Follower, type Head, LogError, type LogRecord, type ReadLimit } from './channel-log.ts'
import { createFollowers } from './followers.ts'
import { parseEntry, recordOf } from './parse-entry.ts'
import type { RedisPage, RedisRecord } from './redis-store.ts'

/** What of a record is known where an offset is heard of: none for a wake-up that did not carry it. */
export type Heard = Omit<RedisRecord, 'foldedFrom' | 'offset'>

/** Hands the records of followed channels on, each once and in order, whatever way and however often they are heard of. */
export interface Feeds {
  follow(key: string, follower: Follower): () => void
  keys(): IterableIterator<string>
  has(key: string): boolean
  /** The epoch that an append of this process proposes for a channel without entries. */
  propose(key: string, epoch: string): void
  /** An append of this process is safe. Resolves when the followers have been told, and of what others wrote before it. */
  wrote(key: string, epoch: string, record: LogRecord | number): Promise<void>
  /** A wake-up. */
  heard(key: string, epoch: string, offset: number, record: Heard | undefined): void
  /** How far the followers of a channel have been told; undefined where it is not followed. */
  placeOf(key: string): Head | undefined
  /** The same under one epoch, without an object for each append; 0 where they are not told of that one. */
  toldUnder(key: string, epoch: string): number
  /** The head of a channel as it was after a moment at which its followers were at `place`. */
  compared(key: string, head: Head, place: Head): void
  /**
   * The same for who has just read that head, and goes on by it: resolves when the followers have been told of another epoch,
   * or of a log that has lost its end. Rejects with LogError.
   */
  agree(key: string, head: Head, place: Head): Promise<void>
  /** The channel was forgotten by this process. */
  forgotten(key: string): void
  /** The store of these channels does not answer. */
  unreachable(isOf: (key: string) => boolean): void
  /** Nobody is told anything any more. */
  end(): void
}

/** See {@link createFeeds}. */
export interface FeedsOptions {
  read(key: string, after: { epoch: string; offset: number }, limit: ReadLimit, isSeen: boolean): Promise<RedisPage>
  /** Does something after the appends that were asked for so far, and before those that follow. */
  inOrder(key: string, work: () => Promise<void>): Promise<void>
  /** A channel is followed from now on, or no longer. */
  subscribe(key: string): void
  unsubscribe(key: string): void
  /** Resolves when the appends under way have settled, and a wake-up that is on its way would have arrived. */
  quiet(key: string): Promise<void>
  /** A record is read from the store because its wake-up was missed, or did not carry it. */
  onBackfill(): void
}

/** How far the followers of a channel have been told. */
interface Feed {
  epoch: string | undefined
  offset: number
  /** Whether it is known where they began. */
  isKnown: boolean
  /** The epochs before it, of which late words may come. */
  replaced: readonly string[]
  proposed: string | undefined
  filling: Promise<void> | undefined
  isToFillAgain: boolean
}

const PAGE: ReadLimit = { records: 256, bytes: 256 * 1024 }
const NO_RECORDS: ReadLimit = { records: 0, bytes: 0 }
/** How many epochs are known to be over; the wake-ups of one more would make its followers read the log anew. */
const LATE_EPOCHS = 8

/** Makes the feeds of one process. */
export function createFeeds({ read, inOrder, subscribe, unsubscribe, quiet, onBackfill }: FeedsOptions): Feeds {
  const followers = createFollowers()
  const feeds = new Map<string, Feed>()

  function begin(key: string): void {
    const feed: Feed = { ...NEW_FEED }
    feeds.set(key, feed)
    subscribe(key)
    const base = inOrder(key, async () => {
      const { head } = await read(key, { epoch: '', offset: 0 }, NO_RECORDS, false)
      if (feeds.get(key) !== feed || feed.isKnown) return
      Object.assign(feed, { isKnown: true, epoch: head.epoch, offset: head.offset })
      if (feed.isToFillAgain) await fill(key, feed)
    })
    // It is found out when the heads are next compared; the followers are then told that they may have missed some.
    base.catch(ignore)
  }

  function reset(key: string, feed: Feed, head: Head): void {
    if (feed.epoch !== undefined && feed.epoch !== head.epoch)
      feed.replaced = [feed.epoch, ...feed.replaced].slice(0, LATE_EPOCHS).filter((epoch) => epoch !== head.epoch)
    Object.assign(feed, { isKnown: true, epoch: head.epoch, offset: head.offset, proposed: undefined })
    followers.reset(key, head)
  }

  /** A channel that had no entries has some now: under our proposal, or under another epoch than its members know. */
  function fixEpoch(key: string, feed: Feed, epoch: string): void {
    if (epoch === feed.proposed) feed.epoch = epoch
    else reset(key, feed, { epoch, offset: 0 })
  }

  /** Answers whether the followers are at that place, or beyond it. */
  function offer(key: string, feed: Feed, epoch: string, offset: number, record: () => LogRecord | undefined): boolean {
    if (!feed.isKnown) {
      feed.isToFillAgain = true
      return false
    }
    if (feed.epoch === undefined) fixEpoch(key, feed, epoch)
    if (feed.epoch !== epoch) {
      // It may be late, or tell of a successor: the log knows.
      if (feed.replaced.includes(epoch)) return false
      reset(key, feed, { epoch, offset: offset - 1 })
    }
    if (offset <= feed.offset) return true
    const next = offset === feed.offset + 1 ? record() : undefined
    if (next === undefined) return false
    tell(key, feed, next)
    return true
  }

  function tell(key: string, feed: Feed, record: LogRecord): void {
    feed.offset = record.offset
    followers.record(key, record)
  }

  /** Reads on to the head. One at a time; asked for while it goes on, it looks once more before it resolves. */
  function fill(key: string, feed: Feed): Promise<void> {
    feed.isToFillAgain = true
    feed.filling ??= (async () => {
      try {
        while (feed.isToFillAgain && feeds.get(key) === feed) {
          feed.isToFillAgain = false
          while (await readOn(key, feed));
        }
      } finally {
        feed.filling = undefined
      }
    })()
    return feed.filling
  }

  /** Answers whether there may be more. */
  async function readOn(key: string, feed: Feed): Promise<boolean> {
    const { epoch, isKnown } = feed
    onBackfill()
    const after = { epoch: epoch ?? '', offset: feed.offset }
    const { head, records } = await read(key, after, PAGE, isKnown && epoch !== undefined)
    if (feeds.get(key) !== feed) return false
    if (feed.epoch !== epoch || feed.isKnown !== isKnown) return true
    if (isKnown && epoch === undefined && head.epoch !== undefined) fixEpoch(key, feed, head.epoch)
    if (!isKnown || records === undefined || head.epoch !== feed.epoch) {
      reset(key, feed, head)
      return false
    }
    for (const { offset, time, text } of records) {
      if (offset <= feed.offset) continue
      const entry = parseEntry(text)
      if (entry === undefined) {
        // Who reads the channel is told so; what comes after the damage goes on.
        reset(key, feed, head)
        return false
      }
      tell(key, feed, { offset, entry, text, time })
    }
    return records.length > 0
  }

  return {
    follow(key, follower) {
      const end = followers.add(key, follower)
      if (!feeds.has(key)) begin(key)
      return () => {
        end()
        if (followers.has(key) || !feeds.delete(key)) return
        unsubscribe(key)
      }
    },
    keys: () => feeds.keys(),
    has: (key) => feeds.has(key),
    propose(key, epoch) {
      const feed = feeds.get(key)
      if (feed !== undefined) feed.proposed ??= epoch
    },
    async wrote(key, epoch, record) {
      const feed = feeds.get(key)
      if (feed === undefined) return
      const isNumber = typeof record === 'number'
      const isTold = offer(key, feed, epoch, isNumber ? record : record.offset, () => (isNumber ? undefined : record))
      if (!isTold) await fill(key, feed)
    },
    heard(key, epoch, offset, record) {
      const feed = feeds.get(key)
      // A late word from before the epoch changed tells nothing.
      if (feed === undefined || feed.replaced.includes(epoch)) return
      const isTold = offer(key, feed, epoch, offset, () => recordOf(offset, record))
      if (!isTold && feed.isKnown) fill(key, feed).catch(ignore)
    },
    placeOf(key) {
      const feed = feeds.get(key)
      return feed === undefined ? undefined : { epoch: feed.epoch, offset: feed.offset }
    },
    toldUnder(key, epoch) {
      const feed = feeds.get(key)
      return feed?.epoch === epoch ? feed.offset : 0
    },
    compared(key, head, place) {
      const feed = feeds.get(key)
      if (feed === undefined || isAt(feed, head, place)) return
      // Mostly what is missing is under way.
      void quiet(key).then(() => {
        if (feeds.get(key) === feed && !isAt(feed, head, place)) fill(key, feed).catch(ignore)
      })
    },
    async agree(key, head, place) {
      const feed = feeds.get(key)
      const isOther = head.epoch !== place.epoch || head.offset < place.offset
      if (feed !== undefined && isOther && !isAt(feed, head, place)) await fill(key, feed)
    },
    forgotten(key) {
      const feed = feeds.get(key)
      if (feed !== undefined) reset(key, feed, { epoch: undefined, offset: 0 })
    },
    unreachable(isOf) {
      for (const key of [...feeds.keys()]) if (isOf(key)) followers.unreachable(key)
    },
    end: () => feeds.clear(),
  }
}

/** Whether a feed has all up to a head, which itself has all that the followers had been told before. */
function isAt({ isKnown, epoch, offset }: Feed, head: Head, place: Head): boolean {
  const isRolledBack = head.epoch === place.epoch && head.offset < place.offset
  return isKnown && epoch === head.epoch && offset >= head.offset && !isRolledBack
}

const NEW_FEED: Feed = {
  epoch: undefined,
  offset: 0,
  isKnown: false,
  replaced: [],
  proposed: undefined,
  filling: undefined,
  isToFillAgain: false,
}

/** A read that failed is repeated when the heads are next compared. */
function ignore(error: unknown): void {
  if (!(error instanceof LogError)) throw error
}
