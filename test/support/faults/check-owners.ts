import type { LoggedChannel, SaidByUpstream } from './evidence.ts'

/** How late the test's own process may see a request that went out in time, in ms. */
const LATE_MS = 1_000

type Attempt = { readonly time: number; readonly run: number }

/** One turn as its entries tell it. */
interface OwnedTurn {
  readonly content: string
  readonly attempts: Attempt[]
  readonly texts: { readonly text: string; readonly afterAttempt: Attempt | undefined }[]
  readonly reasons: string[]
  ended: { readonly time: number; readonly outcome: string } | undefined
}

/**
 * A turn is one process's: its words are those of one request, in order from the first, made after the last attempt that
 * was logged before them; no more requests were made than attempts logged, none by another process than that of the
 * attempt's run, and none after the turn's end. (Where attempts may be lost, requests cannot be held against them.)
 */
export function checkOwners(
  logs: readonly LoggedChannel[],
  requests: readonly SaidByUpstream[],
  mayLose: boolean,
): string[] {
  const found: string[] = []
  const byContent = new Map<string, SaidByUpstream[]>()
  for (const request of requests) byContent.set(request.content, [...(byContent.get(request.content) ?? []), request])
  for (const log of logs) {
    const turns = readTurns(log, found)
    for (const [turn_id, turn] of turns) checkWords(`${log.channel} ${turn_id}`, turn, requests, found)
    if (mayLose) continue
    const contents = Map.groupBy(turns.values(), ({ content }) => content)
    for (const [content, { length }] of byContent)
      if (content.startsWith(`${log.channel} `) && !contents.has(content))
        found.push(`${log.channel}: ${length} requests for '${content}', which is not in Redis`)
    for (const [content, answered] of contents)
      checkRequests(`${log.channel} '${content}'`, answered, byContent.get(content) ?? [], found)
  }
  return found
}

function readTurns(log: LoggedChannel, found: string[]): Map<string, OwnedTurn> {
  const turns = new Map<string, OwnedTurn>()
  const begin = (turn_id: string, content: string) =>
    void turns.set(turn_id, { content, attempts: [], texts: [], reasons: [], ended: undefined })
  for (const { entry, time, offset } of log.records) {
    if (!('turn_id' in entry)) continue
    if (entry.type === 'user_message') begin(entry.turn_id, entry.content)
    if (entry.type === 'user_message' && !entry.content.startsWith(`${log.channel} `))
      found.push(`${log.channel}: the message at ${offset} is another chat's`)
    if (entry.type === 'typing' && entry.regenerates !== undefined)
      begin(entry.turn_id, turns.get(entry.regenerates)?.content ?? '')
    const turn = turns.get(entry.turn_id)
    if (turn === undefined) {
      found.push(`${log.channel}: ${entry.type} at ${offset} is of no turn`)
      continue
    }
    if (turn.ended !== undefined && entry.type !== 'stop')
      found.push(`${log.channel}: ${entry.type} at ${offset} comes after the end of its turn`)
    if (entry.type === 'attempt') turn.attempts.push({ time, run: entry.run })
    if (entry.type === 'ai_stream_chunk') turn.texts.push({ text: entry.content, afterAttempt: turn.attempts.at(-1) })
    if (entry.type === 'ai_reasoning_chunk') turn.reasons.push(entry.content)
    if (entry.type === 'ai_stream_end') turn.ended = { time, outcome: entry.outcome }
  }
  return turns
}

function checkWords(name: string, turn: OwnedTurn, requests: readonly SaidByUpstream[], found: string[]): void {
  const words = turn.texts.flatMap(({ text, afterAttempt }) =>
    text
      .split(' ')
      .filter((word) => word !== '')
      .map((word) => ({ word, afterAttempt })),
  )
  const reasons = turn.reasons.join('').split(' ').slice(0, -1)
  for (const [said, list] of [
    [turn.texts.map(({ text }) => text).join(''), words.map(({ word }) => word)],
    [turn.reasons.join(''), reasons],
  ] as const)
    if (said !== list.map((word) => `${word} `).join('')) found.push(`${name}: '${said}' is not word by word`)
  const first = words[0]?.word ?? reasons[0]
  if (first === undefined) {
    if (turn.ended?.outcome === 'completed') found.push(`${name}: completed without a word`)
    return
  }
  const index = Number(first.slice(1).split('.')[0])
  const request = requests[index]
  if (request === undefined || request.content !== turn.content) {
    found.push(`${name}: '${first}' was not said to it`)
    return
  }
  for (const [n, { word, afterAttempt }] of words.entries()) {
    if (word !== `r${index}.${n}` || n >= request.words) {
      found.push(`${name}: word ${n} is '${word}', of request ${index}`)
      return
    }
    if (afterAttempt === undefined || request.arrivedAt < afterAttempt.time) {
      found.push(`${name}: '${word}' is of a request before the attempt that precedes it`)
      return
    }
  }
  for (const [n, reason] of reasons.entries()) {
    if (reason === `q${index}.${n}` && n < request.reasons) continue
    found.push(`${name}: reason ${n} is '${reason}', of request ${index}`)
    return
  }
  if (turn.ended?.outcome !== 'completed') return
  const isWhole = request.isWhole && words.length === request.words && reasons.length === request.reasons
  if (!isWhole) found.push(`${name}: completed with ${words.length} of ${request.words} words`)
}

/** `turns` are those of one user's message: the first, and those that regenerate it, one after the other. */
function checkRequests(name: string, turns: OwnedTurn[], requests: readonly SaidByUpstream[], found: string[]): void {
  const attempts = turns.flatMap(({ attempts }, turn) => attempts.map((attempt) => ({ ...attempt, turn })))
  if (requests.length > attempts.length)
    found.push(`${name}: ${requests.length} requests, ${attempts.length} attempts logged`)
  const owners = new Map<string, string>()
  for (const { arrivedAt, node, index } of requests) {
    const of = attempts.findLast(({ time }) => time <= arrivedAt)
    if (of === undefined) {
      found.push(`${name}: request ${index} went out before an attempt was logged`)
      continue
    }
    const run = `${of.turn}:${of.run}`
    if ((owners.get(run) ?? node) !== node) found.push(`${name}: request ${index} is by ${node}, its run is another's`)
    owners.set(run, node)
    const endedAt = turns[of.turn]?.ended?.time ?? Number.POSITIVE_INFINITY
    if (arrivedAt > endedAt + LATE_MS) found.push(`${name}: request ${index} was made after the turn's end`)
  }
}
