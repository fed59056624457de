/** What ioredis says of its own state, in the words of an operator; what is not here is said as it is. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [
    /^(?:Stream isn't writeable|Cluster isn't ready|Connection is closed|Command aborted due to connection close|Reached the max retries|Cluster is (?:ended|disconnect)|Node is disconnected|None of startup nodes|Connection is (?:aborted|discarded)).*/s,
    'there is no connection to it',
  ],
  [/^(?:Command timed out|Socket timeout\.|timeout$).*/s, 'it does not answer'],
  [/^Failed to refresh slots cache.*/s, 'no node of its Cluster answers'],
  [/^Too many Cluster redirections.*/s, 'the nodes of its Cluster do not agree'],
  // Why the last one did not is worth saying, unless it is only that.
  [/^All sentinels are unreachable.*?(?:$| Last error: (?:Connection is closed\.$)?)/s, 'no sentinel answers: '],
]

/** The message of an error of Redis or its client, without the client's own vocabulary. */
export function redisWords(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const known = WORDS.find(([pattern]) => pattern.test(message))
  return known === undefined ? message : message.replace(...known).replace(/: $/, '')
}
