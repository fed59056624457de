const NO_CONNECTION = 'there is no connection to it'

/** What ioredis says of its own state, in the words of an operator; what is not here is said as it is. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/^(?:Stream isn't writeable|Connection is (?:closed|aborted|discarded)|Command aborted due to)/, NO_CONNECTION],
  [/^(?:Reached the max retries|Cluster is(?:n't ready| ended| disconnect)|Node is disconnected)/, NO_CONNECTION],
  [/^None of startup nodes is available/, NO_CONNECTION],
  [/^(?:Command timed out|Socket timeout\.|timeout$)/, 'it does not answer'],
  [/^Failed to refresh slots cache/, 'no node of its Cluster answers'],
  [/^Too many Cluster redirections/, 'the nodes of its Cluster do not agree'],
]

/** Why the last one did not answer is worth saying: it may be the password. */
const SENTINELS = /^All sentinels are unreachable.*?(?: Last error: (.*))?$/s

/** How Redis quotes what was sent with a command that it does not know. Where it knows no AUTH, that is the password. */
const QUOTED = /, with args beginning with:.*$/s

/** The message of an error of Redis or its client, without the client's own vocabulary, and without what was sent. */
export function redisWords(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).replace(QUOTED, '')
  const sentinels = SENTINELS.exec(message)
  if (sentinels !== null)
    return ['no sentinel answers', ...sentinels.slice(1).filter(Boolean).map(redisWords)].join(': ')
  const refusal = refusalOfCluster(error)
  if (refusal !== undefined) return `a node says ${redisWords(refusal)}`
  const known = WORDS.find(([pattern]) => pattern.test(message))
  return known?.[1] ?? message
}

/** What the last node said that was asked for the Cluster's slots, where it said something: that it is of none, or the password. */
function refusalOfCluster(error: unknown): Error | undefined {
  if (!(error instanceof Error) || !('lastNodeError' in error)) return undefined
  const { lastNodeError: last } = error
  return last instanceof Error && last.name === 'ReplyError' ? last : undefined
}
