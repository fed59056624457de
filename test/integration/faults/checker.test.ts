import { expect, test } from 'vitest'
import type { Entry, EntryOf } from '../../../src/protocol/entry.ts'
import { checkRun } from '../../support/faults/check-run.ts'
import type { Evidence, SaidByUpstream } from '../../support/faults/evidence.ts'
import { createWitness } from '../../support/witness.ts'

/** A run of one chat whose turn was run again by a second node, as Redis, a client and the upstream saw it. */
function cleanRun(
  entries: readonly Entry[] = ENTRIES,
  shown: readonly Entry[] = entries,
  { epoch = 'e1', again }: { epoch?: string; again?: number } = {},
): Evidence {
  const witness = createWitness()
  const broken: string[] = []
  witness.take({ type: 'welcome', epoch, offset: 0, resumed: false })
  const frames = shown.map((entry, at) => ({ ...entry, offset: at + 1 }))
  for (const frame of again === undefined ? frames : [...frames, frames[again]]) {
    try {
      if (frame !== undefined && frame.type !== 'attempt') witness.take(frame)
    } catch (error) {
      broken.push(String(error))
    }
  }
  return {
    logs: [
      {
        channel: 'one',
        epoch: 'e1',
        records: entries.map((entry, at) => ({ offset: at + 1, time: 1_000 * (at + 1), entry })),
      },
    ],
    clients: [
      {
        name: 'one/0',
        channel: 'one',
        epoch: witness.epoch,
        offset: witness.offset,
        states: witness.states,
        snapshots: witness.snapshots,
        messages: new Map([['e1:1', 'one hello']]),
        turns: witness.turns,
        acknowledged: new Map([['a', { turn_id: 't', epoch: 'e1' }]]),
        positions: new Set(frames.filter(({ type }) => type !== 'attempt').map(({ offset }) => `${epoch}:${offset}`)),
        since: 0,
        broken,
      },
    ],
    requests: REQUESTS,
    mayLose: false,
  }
}

const chunk = (content: string, index: number): Entry => ({
  type: 'ai_stream_chunk',
  turn_id: 't',
  content,
  metadata: { index },
})
const END: Entry = {
  type: 'ai_stream_end',
  turn_id: 't',
  outcome: 'completed',
  finish_reason: 'stop',
  usage: null,
  content: '',
  metadata: { total_words: 2 },
}
const ENTRIES: readonly Entry[] = [
  { type: 'user_message', turn_id: 't', content: 'one hello', id: 'a', client_id: 'c', conversation_id: 'k' },
  { type: 'typing', turn_id: 't' },
  { type: 'attempt', turn_id: 't', attempt: 1, run: 1 },
  { type: 'attempt', turn_id: 't', attempt: 1, run: 2 },
  chunk('r1.0 ', 0),
  chunk('r1.1 ', 1),
  END,
]
const request = (index: number, arrivedAt: number, node: string): SaidByUpstream => ({
  index,
  arrivedAt,
  node,
  content: 'one hello',
  words: 2,
  reasons: 0,
  isWhole: true,
})
const REQUESTS = [request(0, 3_001, 'node-1'), request(1, 4_001, 'node-2')]

const without = (at: number) => ENTRIES.filter((_, n) => n !== at)
const withAt = (at: number, ...more: Entry[]) => [...ENTRIES.slice(0, at), ...more, ...ENTRIES.slice(at)]

test('a clean run is clean', () => {
  expect(checkRun(cleanRun())).toMatchObject({ lost: [], twice: [], wrongOwner: [], told: 0, compared: 6, turns: 1 })
})

test.each([
  ['an entry that was shown is not in Redis', cleanRun(without(5), ENTRIES)],
  ['the last entry that was shown is not in Redis', cleanRun(without(6), ENTRIES)],
  ['an entry in Redis was not shown', cleanRun(ENTRIES, ENTRIES.slice(0, 6))],
  ['another word stands where one was shown', cleanRun(ENTRIES, [...ENTRIES.slice(0, 4), chunk('r1.9 ', 0)])],
  ['the client was not told of the present epoch', cleanRun(ENTRIES, ENTRIES, { epoch: 'e0' })],
  ['an acknowledged message is not in Redis', { ...cleanRun(), clients: acknowledging('b') }],
  ['another message stands where one was shown', { ...cleanRun(), clients: shownMessage('one other') }],
  ['a message was shown to others only', { ...cleanRun(), clients: withoutPosition('e1:1') }],
  ['an acknowledged message went with an epoch', { ...cleanRun(), clients: acknowledging('b', 'e0') }],
])('lost: %s', (_, run) => {
  expect(checkRun(run).lost).not.toEqual([])
})

test.each([
  ['an entry was shown twice', cleanRun(ENTRIES, ENTRIES, { again: 4 })],
  ['a word stands twice', cleanRun(withAt(7, chunk('r1.1 ', 2)), ENTRIES)],
  ['a turn has two ends', cleanRun(withAt(7, END), ENTRIES)],
  ['two clients were shown two things at one place of an epoch that is no more', disagreeing()],
  ['a message stands twice', cleanRun(withAt(7, { ...ENTRIES[0], turn_id: 'u' } as Entry), ENTRIES)],
])('twice: %s', (_, run) => {
  expect(checkRun(run).twice).not.toEqual([])
})

test.each([
  ['a word of the first run comes after the second began', cleanRun([...ENTRIES.slice(0, 4), chunk('r0.0 ', 0)])],
  ['words of two runs are in one turn', cleanRun([...ENTRIES.slice(0, 5), chunk('r0.1 ', 1)])],
  ['a word is missing in the middle', cleanRun(without(4))],
  ['a word that nobody said', cleanRun([...ENTRIES.slice(0, 6), chunk('r1.2 ', 2)])],
  ['a message of another chat', cleanRun([{ ...ENTRIES[0], content: 'two hello' } as Entry, ...ENTRIES.slice(1)])],
  ['a message that Redis does not have was answered', { ...cleanRun(), requests: [...REQUESTS, otherRequest()] }],
  ['a word runs into the next one', cleanRun([...ENTRIES.slice(0, 4), chunk('r1.0  ', 0), ...ENTRIES.slice(5)])],
  ['completed, but not whole', cleanRun(without(5))],
  ['an entry of a turn comes after its end', cleanRun(withAt(7, { type: 'typing', turn_id: 't' }), ENTRIES)],
  ['more requests than attempts', { ...cleanRun(), requests: [...REQUESTS, request(2, 4_500, 'node-2')] }],
  ['a request before its attempt', { ...cleanRun(), requests: [request(0, 2_000, 'node-1'), REQUESTS[1]] }],
  [
    'a woken zombie asks in the run of another',
    { ...cleanRun(), requests: [request(0, 4_500, 'node-1'), REQUESTS[1]] },
  ],
  ['a request after the end', { ...cleanRun(), requests: [REQUESTS[0], request(1, 9_000, 'node-2')] }],
] as [string, Evidence][])('wrong owner: %s', (_, run) => {
  expect(checkRun(run).wrongOwner).not.toEqual([])
})

test('a snapshot is held against what its turn had come to, whatever entry stands where it ends', () => {
  const waiting: Entry = { ...(ENTRIES[0] as EntryOf<'user_message'>), turn_id: 'u', id: 'b' }
  const entries = [...ENTRIES.slice(0, 6), waiting]
  const joined = (text: string) => {
    const witness = createWitness()
    witness.take({ type: 'welcome', epoch: 'e1', offset: 0, resumed: false })
    witness.take({ type: 'typing', turn_id: 't' })
    witness.take({ ...chunk(text, 0), offset: 7 })
    const { states, snapshots, turns } = witness
    const [client] = cleanRun(entries).clients
    return client === undefined ? [] : [{ ...client, states, snapshots, turns, messages: new Map() }]
  }
  // (The turns of this log have no ends.)
  const lostOf = (text: string) =>
    checkRun({ ...cleanRun(entries), clients: joined(text) }).lost.filter((what) => what.includes('it was shown'))
  expect(lostOf('r1.0 r1.1 ')).toEqual([])
  expect(lostOf('r1.0 ')).not.toEqual([])
})

test('what went with an epoch is told, not lost; what went without one is lost all the same', () => {
  const short = ENTRIES.slice(0, 4)
  const moved = cleanRun(short)
  const [client] = moved.clients
  const old = new Map([...(client?.states ?? []), ['e0:5', 'a word of the epoch before']])
  const end: Entry = { ...END, outcome: 'interrupted' }
  const run = cleanRun([...short, end])
  const clients = run.clients.map((each) => ({ ...each, states: new Map([...each.states, ...old]) }))
  expect(checkRun({ ...run, clients, mayLose: true })).toMatchObject({ lost: [], told: 1 })
  expect(checkRun({ ...run, clients }).lost).not.toEqual([])
  expect(checkRun({ ...cleanRun(without(5), ENTRIES), mayLose: true }).lost).not.toEqual([])
})

test('what was held when an epoch went on under another is compared with that one, whatever a run may lose', () => {
  const witness = createWitness()
  const shown = ENTRIES.slice(0, 6).map((entry, at) => ({ ...entry, offset: at + 1 }))
  witness.take({ type: 'welcome', epoch: 'e0', offset: 0, resumed: false })
  for (const frame of shown) if (frame.type !== 'attempt') witness.take(frame)
  witness.take({ type: 'welcome', epoch: 'e1', offset: 6, resumed: true })
  witness.take({ ...END, offset: 7 })
  const judge = (entries: readonly Entry[]) => {
    const run = cleanRun(entries, ENTRIES)
    const clients = run.clients.map((each) => ({ ...each, states: witness.states, turns: witness.turns }))
    return checkRun({ ...run, clients, mayLose: true })
  }
  expect(judge(ENTRIES)).toMatchObject({ lost: [], told: 0 })
  const other = judge([...ENTRIES.slice(0, 5), chunk('r1.9 ', 1), END])
  expect(other.lost).toContainEqual(expect.stringMatching(/^one\/0: at e1:6 it was shown/))
  expect(other.told).toBe(1)
})

function acknowledging(id: string, epoch = 'e1') {
  return cleanRun().clients.map((each) => ({ ...each, acknowledged: new Map([[id, { turn_id: 't', epoch }]]) }))
}

function shownMessage(content: string) {
  return cleanRun().clients.map((each) => ({ ...each, messages: new Map([['e1:1', content]]) }))
}

function withoutPosition(position: string) {
  return cleanRun().clients.map((each) => ({
    ...each,
    positions: new Set([...each.positions].filter((other) => other !== position)),
  }))
}

function disagreeing(): Evidence {
  const run = cleanRun()
  const clients = ['a word', 'another word'].flatMap((word) =>
    run.clients.map((each) => ({ ...each, states: new Map([...each.states, ['e0:5', word]]) })),
  )
  return { ...run, clients, mayLose: true }
}

function otherRequest(): SaidByUpstream {
  return { ...request(2, 4_500, 'node-2'), content: 'one other' }
}
