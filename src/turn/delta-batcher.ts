/** A kind of text that a model streams. */
export type DeltaKind = 'text' | 'reasoning'

/** Collects a turn's deltas while an append is under way, so that each append holds all that came in the meantime. */
export interface DeltaBatcher {
  push(kind: DeltaKind, content: string): void
  /** Resolves when all that was pushed is in the log; rejects with what the append rejected with. */
  flush(): Promise<void>
}

/**
 * One append at a time: the log's own pace is the batch's length, so an idle log shows each token at once and a busy
 * one gets fewer, larger entries. Deltas of the two kinds are not mixed, and keep their order. After a failed append
 * nothing more is appended; `onFailed` is told once.
 */
export function createDeltaBatcher(
  append: (kind: DeltaKind, content: string) => Promise<unknown>,
  onFailed: (error: unknown) => void,
): DeltaBatcher {
  let waiting: { kind: DeltaKind; content: string }[] = []
  let writing: Promise<void> | undefined

  async function write(): Promise<void> {
    for (let batch = waiting.shift(); batch !== undefined; batch = waiting.shift())
      await append(batch.kind, batch.content)
  }

  function start(): void {
    // A tick later, so that all deltas of one network read go into one entry.
    writing = Promise.resolve()
      .then(write)
      .then(
        () => {
          writing = undefined
          if (waiting.length > 0) start()
        },
        (error: unknown) => {
          waiting = []
          onFailed(error)
          throw error
        },
      )
    // Who flushes sees the rejection; who does not has been told by onFailed.
    writing.catch(() => {})
  }

  return {
    push(kind, content) {
      const last = waiting.at(-1)
      if (last?.kind === kind) last.content += content
      else waiting.push({ kind, content })
      if (writing === undefined) start()
    },
    async flush() {
      while (writing !== undefined) await writing
    },
  }
}
