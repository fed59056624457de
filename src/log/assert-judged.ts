import { type AppendOptions, LogError } from './channel-log.ts'

/** Throws {@link LogError} `stale` where another judged entry stands above what the writer has read. */
export function assertJudged(
  known: { readonly head: number; readonly judged: number } | undefined,
  { judgedAt, seenHead }: AppendOptions,
): void {
  if (known === undefined || judgedAt === undefined || seenHead > known.head) return
  if (known.judged > judgedAt) throw new LogError('stale', 'another entry came first')
}
