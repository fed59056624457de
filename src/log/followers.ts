import type { Follower, Head, LogRecord } from './channel-log.ts'

/** Who follows which channel. A follower that ends while the others are told is not told any more. */
export interface Followers {
  add(key: string, follower: Follower): () => void
  has(key: string): boolean
  record(key: string, record: LogRecord): void
  reset(key: string, head: Head): void
  unreachable(key: string): void
}

/** Makes an empty set of followers. */
export function createFollowers(): Followers {
  const byKey = new Map<string, Set<Follower>>()

  function tell(key: string, what: (follower: Follower) => void): void {
    for (const follower of byKey.get(key) ?? []) {
      try {
        what(follower)
      } catch (error) {
        // The entry is written and the others must hear of it: the fault is its owner's, and goes to the process.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  return {
    add(key, follower) {
      // An object of its own: the same follower may follow a channel twice, and each end ends one of them.
      const own: Follower = {
        record: (record) => follower.record(record),
        reset: (head) => follower.reset(head),
        unreachable: () => follower.unreachable?.(),
      }
      const followers = byKey.get(key) ?? new Set()
      byKey.set(key, followers.add(own))
      return () => {
        if (followers.delete(own) && followers.size === 0 && byKey.get(key) === followers) byKey.delete(key)
      }
    },
    has: (key) => byKey.has(key),
    record: (key, record) => tell(key, (follower) => follower.record(record)),
    reset: (key, head) => tell(key, (follower) => follower.reset(head)),
    unreachable: (key) => tell(key, (follower) => follower.unreachable?.()),
  }
}
