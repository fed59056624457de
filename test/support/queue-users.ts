import type { FairQueue, Ticket } from '../../src/coordination/fair-queue.ts'

/** What becomes of a request at first. */
export type FirstAnswer = 'granted' | 'refused' | number

/** Users of a queue, by name, and what they are told. */
export interface QueueUsers {
  /** Asks on behalf of a key. Resolves with what is told first; does not where the request is cancelled before. */
  ask(key: string, name: string): Promise<FirstAnswer>
  release(name: string): void
  cancel(name: string): void
  /** Who was granted, in order. */
  readonly served: string[]
  /** Who was refused, at once or after having waited, in order. */
  readonly refused: string[]
  /** `name:position`, as it was told. */
  readonly told: string[]
  /** Those that wait, by the position that they were told last. */
  inOrder(): string[]
}

/** Users of a queue; `served` may be common to those of several processes. */
export function createQueueUsers(queue: FairQueue, served: string[] = []): QueueUsers {
  const told: string[] = []
  const refused: string[] = []
  const waiting = new Map<string, number>()
  const releases = new Map<string, () => void>()
  const tickets = new Map<string, Ticket>()
  return {
    served,
    refused,
    told,
    ask(key, name) {
      const { promise, resolve } = Promise.withResolvers<FirstAnswer>()
      const ticket = queue.request(key, {
        granted(release) {
          waiting.delete(name)
          served.push(name)
          releases.set(name, release)
          resolve('granted')
        },
        moved(position) {
          waiting.set(name, position)
          told.push(`${name}:${position}`)
          resolve(position)
        },
        refused() {
          waiting.delete(name)
          refused.push(name)
          resolve('refused')
        },
      })
      tickets.set(name, ticket)
      return promise
    },
    release: (name) => releases.get(name)?.(),
    cancel(name) {
      waiting.delete(name)
      tickets.get(name)?.cancel()
    },
    inOrder: () => [...waiting].sort(([, a], [, b]) => a - b).map(([name]) => name),
  }
}
