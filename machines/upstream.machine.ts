import { setup } from 'xstate'

/** What a model endpoint's circuit breaker is told. An attempt may start only where the chart takes its `started`. */
export type UpstreamEvent =
  /** Someone wants to ask the model. */
  | { type: 'attempt.started' }
  /** The endpoint answered, be it with a refusal. */
  | { type: 'attempt.succeeded' }
  /** The endpoint could not be reached, timed out or broke off. */
  | { type: 'attempt.failed' }
  /** The probe's own outcome: that of an older attempt, which began before the breaker opened, says nothing new. */
  | { type: 'probe.succeeded' }
  | { type: 'probe.failed' }
  /** It was stopped before the endpoint had said anything. */
  | { type: 'probe.abandoned' }

/** The circuit breaker of one model endpoint: users learn at once that it is down, and it gets time to recover. */
export const upstreamMachine = setup({
  types: { events: {} as UpstreamEvent },
  guards: {
    /** With this failure, the limit of failures in a row is reached. */
    reachesLimit: () => false,
  },
  actions: {
    /** A transition with neither action nor target would forbid the event. */
    letThrough: () => {},
    countFailure: () => {},
    forgetFailures: () => {},
  },
  delays: { coolOff: 0 },
}).createMachine({
  id: 'upstream',
  description: 'The circuit breaker of one model endpoint.',
  initial: 'closed',
  states: {
    closed: {
      description: 'The endpoint works: attempts go through, failures in a row are counted.',
      entry: 'forgetFailures',
      on: {
        'attempt.started': { actions: 'letThrough' },
        'attempt.succeeded': { actions: 'forgetFailures' },
        'attempt.failed': [{ guard: 'reachesLimit', target: 'open' }, { actions: 'countFailure' }],
      },
    },
    open: {
      description: 'The endpoint is down: attempts fail at once, without a request.',
      after: { coolOff: { target: 'halfOpen' } },
    },
    halfOpen: {
      description: 'The endpoint may be back: one attempt at a time finds out.',
      initial: 'waiting',
      states: {
        waiting: {
          description: 'The next attempt will be the probe.',
          on: { 'attempt.started': { target: 'probing' } },
        },
        probing: {
          description: 'The probe is on its way; other attempts fail at once.',
          on: {
            'probe.succeeded': { target: '#upstream.closed' },
            'probe.failed': { target: '#upstream.open' },
            'probe.abandoned': { target: 'waiting' },
          },
        },
      },
    },
  },
})
