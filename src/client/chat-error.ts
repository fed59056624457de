/**
 * Why a turn, or something else that was asked for, came to nothing. `code` is the server's (SPEC.md's table of error
 * codes), or one of the client's own: `too_long` (for this server), `lost` (the server has no such turn any more) and
 * `closed` (the connection has ended for good, by `close()` or by a close code that says so). The message is for people.
 */
export class ChatError extends Error {
  override readonly name = 'ChatError'
  readonly code: string

  constructor(code: string, sentence: string) {
    super(sentence)
    this.code = code
  }
}
