/** Work by key: what is asked for one key is done one after the other, in the order in which it was asked. */
export interface InOrder {
  add<T>(key: string, work: () => Promise<T>): Promise<T>
  /** Resolves when all that was asked for a key so far has settled. */
  settled(key: string): Promise<void>
}

/** Costs nothing for a key with nothing under way. */
export function createInOrder(): InOrder {
  const tails = new Map<string, Promise<void>>()
  return {
    add(key, work) {
      const before = tails.get(key)
      const done = before === undefined ? work() : before.then(work)
      const tail: Promise<void> = done.then(ignore, ignore).then(() => {
        if (tails.get(key) === tail) tails.delete(key)
      })
      tails.set(key, tail)
      return done
    },
    async settled(key) {
      await tails.get(key)
    },
  }
}

/** Whether it worked is for whoever asked for it. */
function ignore(): void {}
