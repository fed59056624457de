/** Those who wait until a channel has folded an offset. */
export interface AwaitedOffsets {
  /** Resolves when it has, or when the log is read anew. */
  until(offset: number): Promise<void>
  /** All up to this one are folded. */
  reached(offset: number): void
  /** The log is read anew: nobody waits any longer. */
  end(): void
}

/** Costs a comparison for each record while nobody waits. */
export function createAwaitedOffsets(): AwaitedOffsets {
  let waiting: { readonly offset: number; readonly resolve: () => void }[] = []

  function reached(offset: number): void {
    if (waiting.length === 0) return
    const done = waiting.filter((one) => one.offset <= offset)
    waiting = waiting.filter((one) => one.offset > offset)
    for (const { resolve } of done) resolve()
  }

  return {
    until: (offset) => new Promise((resolve) => waiting.push({ offset, resolve })),
    reached,
    end: () => reached(Number.POSITIVE_INFINITY),
  }
}
