/** Frames that may wait for the welcome, and their length in all. SPEC.md L5. */
const MAX_FRAMES = 16
const MAX_BYTES = 64 * 1024

/** What a client sent before its `welcome`. The tutorial's client speaks at once. */
export class EarlyFrames {
  readonly #texts: string[] = []
  #bytes = 0

  /** Answers false where that was too much. */
  keep(text: string): boolean {
    this.#bytes += Buffer.byteLength(text)
    if (this.#texts.length >= MAX_FRAMES || this.#bytes > MAX_BYTES) return false
    this.#texts.push(text)
    return true
  }

  [Symbol.iterator](): Iterator<string> {
    return this.#texts.values()
  }
}
