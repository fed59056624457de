/**
 * A place in a channel's log. `epoch` names the log's incarnation (1 to 64 characters of `A-Za-z0-9_-`), `offset` is
 * the offset of the last entry that its holder has; 0 means that it has none. SPEC.md G1.
 */
export interface Position {
  readonly epoch: string
  readonly offset: number
}

const EPOCH = /^[A-Za-z0-9_-]{1,64}$/
const OFFSET = /^(?:0|[1-9][0-9]{0,14})$/

/** Reads `?epoch=&offset=` of a URL. Answers undefined where they are absent or not of the form; the join is then fresh. */
export function parsePosition(query: URLSearchParams): Position | undefined {
  const epoch = query.get('epoch')
  const offset = query.get('offset')
  if (epoch === null || offset === null || !EPOCH.test(epoch) || !OFFSET.test(offset)) return undefined
  return { epoch, offset: Number(offset) }
}
