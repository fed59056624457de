/**
 * How many clients of a drained server come back in a ms. In the fault run of docs/reliability.md, one node of two on two
 * cores (Redis and the clients on them, too) takes up 10,000 that come back at once in 4.1 s, 2.4 in a ms: this leaves it
 * more than half of its time for those whom it has already.
 */
const RETURNS_PER_MS = 1
const SHORTEST_MS = 1_000

/**
 * Over how long the clients of a draining server are to spread their return, in ms: in proportion to how many they are, at least
 * a second, and beyond that at most `longestMs`.
 */
export function returnSpreadMs(connections: number, longestMs: number): number {
  return Math.max(SHORTEST_MS, Math.min(connections / RETURNS_PER_MS, longestMs))
}
