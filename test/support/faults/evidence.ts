import type { Entry, Outcome } from '../../../src/protocol/entry.ts'

/** What is known when a run is over. The checker judges by it alone. */
export interface Evidence {
  readonly logs: readonly LoggedChannel[]
  readonly clients: readonly SeenByClient[]
  readonly requests: readonly SaidByUpstream[]
  /** The scenario lost data of Redis: what was shown under an epoch that is no more may be gone, and acknowledged messages with it. */
  readonly mayLose: boolean
}

/** A channel as Redis has it in the end. */
export interface LoggedChannel {
  readonly channel: string
  readonly epoch: string
  readonly records: readonly { readonly offset: number; readonly time: number; readonly entry: Entry }[]
}

/** What one client was shown, over all its connections. */
export interface SeenByClient {
  readonly name: string
  readonly channel: string
  /** Where it is now. */
  readonly epoch: string
  readonly offset: number
  /** What a turn had come to at each `epoch:offset`: turn, hashes of text and reasoning, outcome. See the witness. */
  readonly states: ReadonlyMap<string, string>
  /** Where a snapshot ended: there it is the state of the turn that runs, whatever entry stands there. */
  readonly snapshots: ReadonlySet<string>
  /** By `epoch:offset`, what each user's message was that it was shown. */
  readonly messages: ReadonlyMap<string, string>
  readonly turns: ReadonlyMap<string, { readonly text: string; readonly outcome: string | undefined }>
  /** Its writing frames that the server has acknowledged, by id, with the epoch under which it did so last. */
  readonly acknowledged: ReadonlyMap<string, { readonly turn_id: string; readonly epoch: string }>
  /** Each `epoch:offset` at which it was shown something. */
  readonly positions: ReadonlySet<string>
  /** Where its last snapshot ended, under its present epoch: what came after it was shown entry by entry. */
  readonly since: number
  /** Where the rules of the protocol were broken on one of its connections. */
  readonly broken: readonly string[]
}

/** One request, and how much of its answer was said: `r<index>.<n> ` is its n-th word, `q<index>.<n> ` one of its reasoning. */
export interface SaidByUpstream {
  readonly index: number
  /** When it arrived, in ms since 1970. */
  readonly arrivedAt: number
  /** Which life of which node asked. */
  readonly node: string
  /** The user's message that it answers: unique to its turn, and to the turns that regenerate it. */
  readonly content: string
  readonly words: number
  readonly reasons: number
  /** It was said to its end. */
  readonly isWhole: boolean
}

/** What the checker found, in words. All empty: the run was clean. */
export interface Verdict {
  readonly lost: readonly string[]
  readonly twice: readonly string[]
  readonly wrongOwner: readonly string[]
  /** How many things that clients had been shown went with an epoch; they were told so by its successor. */
  readonly told: number
  /** How many things that clients were shown were compared with Redis. */
  readonly compared: number
  readonly turns: number
  readonly outcomes: Readonly<Partial<Record<Outcome, number>>>
  /** How many turns ended as `interrupted` with a part of their answer. */
  readonly brokenOff: number
}
