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

/** The message of an error of Redis or its client, without the client's own vocabulary. */
export function redisWords(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const sentinels = SENTINELS.exec(message)
  if (sentinels !== null)
    return ['no sentinel answers', ...sentinels.slice(1).filter(Boolean).map(redisWords)].join(': ')
  const known = WORDS.find(([pattern]) => pattern.test(message))
  return known?.[1] ?? message
}
