import { setup } from 'xstate'
import type { Outcome } from '../src/protocol/entry.ts'
import type { ErrorCode } from '../src/protocol/errors.ts'

/** What a turn's actor is told. */
export type TurnEvent =
  /** Its place at the model. */
  | { type: 'slot.granted' }
  /** Too many wait. */
  | { type: 'slot.refused' }
  /** The first delta of an attempt; the others are data and no events. */
  | { type: 'attempt.delta' }
  /** The model said that it has finished, and all that it said is in the log. */
  | { type: 'attempt.finished' }
  | { type: 'attempt.failed'; error: { code: ErrorCode; retryable: boolean; retryAfterMs: number | undefined } }
  | { type: 'turn.stop' }
  | { type: 'turn.interrupt' }
  /** Its lease is gone, or somebody else has ended it: nothing may be written any more. */
  | { type: 'turn.lost' }
  /** An entry of the turn could not be written. */
  | { type: 'log.failed' }

/** One turn: a user message until its terminal outcome. SPEC.md C2, C3, C6, C15. */
export const turnMachine = setup({
  types: { events: {} as TurnEvent },
  guards: {
    /** The failure may pass, no delta was shown, and attempts are left. */
    mayRetry: () => false,
  },
  actions: {
    waitForSlot: () => {},
    startAttempt: () => {},
    keepError: () => {},
    keepQueueError: () => {},
    keepLogError: () => {},
    /** Ends the attempt, and writes nothing. */
    abandon: () => {},
    /** Ends the attempt, appends what was received and the terminal entry. */
    end: (_, _params: { outcome: Outcome }) => {},
  },
  delays: { backOff: 0 },
}).createMachine({
  id: 'turn',
  description: 'One user message until its terminal outcome.',
  initial: 'queued',
  on: {
    'turn.stop': { target: '.stopped' },
    'turn.interrupt': { target: '.interrupted' },
    'turn.lost': { target: '.abandoned' },
    'log.failed': { target: '.failed', actions: 'keepLogError' },
  },
  states: {
    queued: {
      description: 'Waiting for a place at the model.',
      entry: 'waitForSlot',
      on: {
        'slot.granted': { target: 'requesting' },
        'slot.refused': { target: 'failed', actions: 'keepQueueError' },
      },
    },
    requesting: {
      description: 'The model is asked and has said nothing yet.',
      entry: 'startAttempt',
      on: {
        'attempt.delta': { target: 'streaming' },
        'attempt.finished': { target: 'completed' },
        'attempt.failed': [
          { guard: 'mayRetry', target: 'backingOff', actions: 'keepError' },
          { target: 'failed', actions: 'keepError' },
        ],
      },
    },
    backingOff: {
      description: 'The attempt failed before its first delta; the next one waits.',
      after: { backOff: { target: 'requesting' } },
    },
    streaming: {
      description: 'Deltas are coming in. A failure now ends the turn: what was shown cannot be taken back.',
      on: {
        'attempt.finished': { target: 'completed' },
        'attempt.failed': { target: 'failed', actions: 'keepError' },
      },
    },
    completed: {
      description: 'The model finished.',
      type: 'final',
      entry: { type: 'end', params: { outcome: 'completed' } },
    },
    stopped: {
      description: 'A member stopped it.',
      type: 'final',
      entry: { type: 'end', params: { outcome: 'stopped' } },
    },
    failed: {
      description: 'The model, its queue or the log failed.',
      type: 'final',
      entry: { type: 'end', params: { outcome: 'failed' } },
    },
    interrupted: {
      description: 'The server went away.',
      type: 'final',
      entry: { type: 'end', params: { outcome: 'interrupted' } },
    },
    abandoned: {
      description: 'It is another process that ends it.',
      type: 'final',
      entry: 'abandon',
    },
  },
})
