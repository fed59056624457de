import { type EntryOf, isHidden, type Outcome } from '../../../src/protocol/entry.ts'
import { createWitness, type Witness } from '../witness.ts'
import { checkOwners } from './check-owners.ts'
import type { Evidence, LoggedChannel, SeenByClient, Verdict } from './evidence.ts'

/** Compares what every client was shown with what Redis has, and what Redis has with what the upstream was asked and said. */
export function checkRun({ logs, clients, requests, mayLose }: Evidence): Verdict {
  const lost: string[] = []
  const twice: string[] = []
  let told = 0
  let compared = 0
  const outcomes: Partial<Record<Outcome, number>> = {}
  const channels = new Map(logs.map((log) => [log.channel, log]))

  for (const log of logs) {
    twice.push(...repeatsIn(log))
    for (const end of entriesOf(log, 'ai_stream_end')) outcomes[end.outcome] = (outcomes[end.outcome] ?? 0) + 1
    for (const turn_id of turnsOf(log)) {
      if (!entriesOf(log, 'ai_stream_end').some((end) => end.turn_id === turn_id))
        lost.push(`${log.channel}: turn ${turn_id} has no end`)
    }
    const folded = foldOf(log, twice)
    const members = clients.filter(({ channel }) => channel === log.channel)
    twice.push(...disagreements(members))
    for (const client of members) {
      const found = compareClient(client, log, folded, mayLose)
      lost.push(...found.lost)
      told += found.told
      compared += found.compared
    }
  }
  for (const client of clients) {
    twice.push(...client.broken.map((what) => `${client.name}: ${what}`))
    if (!channels.has(client.channel) && client.offset > 0) lost.push(`${client.name}: its channel is not in Redis`)
  }
  return {
    lost,
    twice,
    wrongOwner: checkOwners(logs, requests, mayLose),
    told,
    compared,
    turns: sum(outcomes),
    outcomes,
    brokenOff: logs.reduce((sum, log) => sum + brokenOffIn(log), 0),
  }
}

/** Everything that a log must have once and has twice. */
function repeatsIn(log: LoggedChannel): string[] {
  const found: string[] = []
  const seen = new Set<string>()
  let last = 0
  const once = (what: string) => {
    if (seen.has(what)) found.push(`${log.channel}: ${what} is there twice`)
    seen.add(what)
  }
  for (const { offset, entry } of log.records) {
    if (offset !== last + 1) found.push(`${log.channel}: offset ${offset} follows ${last}`)
    last = offset
    if (entry.type === 'user_message') once(`message ${entry.id ?? entry.turn_id}`)
    if (entry.type === 'typing' && entry.regenerates !== undefined) once(`regeneration ${entry.id ?? entry.turn_id}`)
    if (entry.type === 'ai_stream_end') once(`end of ${entry.turn_id}`)
    if (entry.type === 'typing') once(`typing of ${entry.turn_id}`)
  }
  return found
}

/** Where two members were shown two things at one position, whether Redis still has it or not. */
function disagreements(members: readonly SeenByClient[]): string[] {
  const found: string[] = []
  const first = new Map<string, { readonly name: string; readonly what: string }>()
  for (const { name, states, snapshots, messages } of members) {
    const note = (key: string, what: string) => {
      const known = first.get(key) ?? { name, what }
      first.set(key, known)
      if (known.what !== what) found.push(`${key} was ${known.what} to ${known.name}, and ${what} to ${name}`)
    }
    for (const [position, state] of states) if (!snapshots.has(position)) note(`the turn at ${position}`, state)
    for (const [position, content] of messages) note(`the message at ${position}`, content)
  }
  return found
}

function brokenOffIn(log: LoggedChannel): number {
  const begun = new Set<string>()
  for (const { entry } of log.records)
    if (entry.type === 'ai_stream_chunk' || entry.type === 'ai_reasoning_chunk') begun.add(entry.turn_id)
  const ends = entriesOf(log, 'ai_stream_end')
  return ends.filter(({ outcome, turn_id }) => outcome === 'interrupted' && begun.has(turn_id)).length
}

/** What a client that missed nothing would have been shown. */
function foldOf(log: LoggedChannel, found: string[]): Witness {
  const witness = createWitness()
  witness.take({ type: 'welcome', epoch: log.epoch, offset: 0, resumed: false })
  for (const { offset, entry } of log.records) {
    try {
      witness.take({ ...entry, offset })
    } catch (error) {
      found.push(`${log.channel}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return witness
}

function compareClient(client: SeenByClient, log: LoggedChannel, folded: Witness, mayLose: boolean) {
  const lost: string[] = []
  let told = 0
  const say = (what: string) => lost.push(`${client.name}: ${what}`)
  const head = log.records.at(-1)?.offset ?? 0
  if (client.epoch !== log.epoch || client.offset !== head)
    say(`ended at ${client.epoch}:${client.offset}, the log at ${log.epoch}:${head}`)

  const messages = new Map<string, string>()
  for (const { offset, entry } of log.records) {
    if (entry.type === 'user_message') messages.set(`${log.epoch}:${offset}`, entry.content)
    // Chunks may come joined; what of a text is missing shows in its sum. All else comes at its own offset.
    const isJoined = isHidden(entry) || entry.type === 'ai_stream_chunk' || entry.type === 'ai_reasoning_chunk'
    if (!isJoined && offset > client.since && !client.positions.has(`${log.epoch}:${offset}`))
      say(`it was not shown the ${entry.type} at ${offset}`)
  }
  const compare = (
    seen: ReadonlyMap<string, string>,
    storedAt: (offset: number, position: string) => string | undefined,
  ) => {
    for (const [position, was] of seen) {
      const [epoch, offset] = position.split(':')
      // Offsets go on under a new epoch: where nothing may be lost, what stood there stands there.
      const is = storedAt(Number(offset), position)
      if (is === was) continue
      if (mayLose && epoch !== log.epoch) told++
      else say(`at ${position} it was shown ${was}, Redis has ${is ?? 'nothing'}`)
    }
  }
  compare(client.states, (offset, position) =>
    client.snapshots.has(position)
      ? stateBefore(folded, log, offset, client.states.get(position) ?? '')
      : folded.states.get(`${log.epoch}:${offset}`),
  )
  compare(client.messages, (offset) => messages.get(`${log.epoch}:${offset}`))

  // A history leaves out answers without text, and those that another has replaced.
  const replaced = new Set(log.records.flatMap(({ entry }) => ('regenerates' in entry ? [entry.regenerates] : [])))
  for (const [turn_id, { text, outcome }] of folded.turns) {
    const shown = client.turns.get(turn_id)
    if (shown === undefined && (text === '' || replaced.has(turn_id))) continue
    if (shown?.text !== text || shown.outcome !== outcome)
      say(`turn ${turn_id} is '${shown?.text}' (${shown?.outcome}), in Redis '${text}' (${outcome})`)
  }
  for (const turn_id of client.turns.keys()) if (!folded.turns.has(turn_id)) say(`turn ${turn_id} is not in Redis`)
  for (const [id, { turn_id, epoch }] of client.acknowledged) {
    if (mayLose && epoch !== log.epoch) continue
    const stored = log.records.find(({ entry }) => 'id' in entry && entry.id === id)?.entry
    if (stored === undefined || !('turn_id' in stored) || stored.turn_id !== turn_id)
      say(`${id} was acknowledged as turn ${turn_id} and is not in Redis`)
  }
  return { lost, told, compared: client.states.size + client.messages.size }
}

/** What the turn of a state had come to in the log at an offset. */
function stateBefore(folded: Witness, log: LoggedChannel, offset: number, state: string): string | undefined {
  const [turn_id] = state.split(' ')
  const last = log.records.findLast(
    (record) => record.offset <= offset && 'turn_id' in record.entry && record.entry.turn_id === turn_id,
  )
  return folded.states.get(`${log.epoch}:${last?.offset}`)
}

function entriesOf<T extends 'ai_stream_end'>(log: LoggedChannel, type: T): EntryOf<T>[] {
  return log.records.map(({ entry }) => entry).filter((entry): entry is EntryOf<T> => entry.type === type)
}

function turnsOf(log: LoggedChannel): Set<string> {
  const turns = new Set<string>()
  for (const { entry } of log.records) {
    if (entry.type === 'user_message' || (entry.type === 'typing' && entry.regenerates !== undefined))
      turns.add(entry.turn_id)
  }
  return turns
}

function sum(counts: Readonly<Partial<Record<string, number>>>): number {
  return Object.values(counts).reduce<number>((total, count) => total + (count ?? 0), 0)
}
