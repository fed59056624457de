import { setup } from 'xstate'

/** What a worker's actor is told by its supervisor, and by the process. */
export type WorkerEvent =
  /** The process accepts connections. */
  | { type: 'worker.listening' }
  /** The process answered a ping. */
  | { type: 'worker.answered' }
  /** The process has ended, whyever. */
  | { type: 'worker.exited' }
  /** The server stops, or another worker has taken this one's place. */
  | { type: 'worker.stop' }

/** One worker as its supervisor sees it: a process, and the next one when it dies. */
export const workerMachine = setup({
  types: { events: {} as WorkerEvent },
  actions: {
    spawn: () => {},
    tellListening: () => {},
    ping: () => {},
    /** SIGKILL: whatever the process is doing, it ends now. */
    kill: () => {},
    /** Asks the process to drain and end. */
    askToDrain: () => {},
    countFailure: () => {},
    forgetFailures: () => {},
    tellEnded: () => {},
  },
  delays: { startDeadline: 0, pingInterval: 0, answerDeadline: 0, proof: 0, backOff: 0, drainDeadline: 0 },
}).createMachine({
  id: 'worker',
  description: 'A worker of a server of several processes.',
  initial: 'starting',
  states: {
    starting: {
      description: 'The first process has been started. If it cannot, a second one could not either.',
      entry: 'spawn',
      on: {
        'worker.listening': { target: 'listening' },
        'worker.exited': { target: 'ended' },
        'worker.stop': { target: 'draining' },
      },
      after: { startDeadline: { target: '#worker.draining.killing' } },
    },
    listening: {
      description: 'The process accepts connections.',
      type: 'parallel',
      entry: 'tellListening',
      on: {
        'worker.exited': { target: 'waiting' },
        'worker.stop': { target: 'draining' },
      },
      states: {
        heartbeat: {
          description: 'Whether the process still answers.',
          initial: 'well',
          states: {
            well: {
              description: 'It answered the last time.',
              after: { pingInterval: { target: 'asked' } },
            },
            asked: {
              description: 'It was asked, and has not answered yet.',
              entry: 'ping',
              on: { 'worker.answered': { target: 'well' } },
              after: { answerDeadline: { target: 'askedAgain' } },
            },
            askedAgain: {
              description:
                'A last chance: after a pause of the whole machine, the supervisor may be the first to wake.',
              entry: 'ping',
              on: { 'worker.answered': { target: 'well' } },
              after: { answerDeadline: { target: '#worker.frozen' } },
            },
          },
        },
        record: {
          description: 'Whether the deaths before this process still count.',
          initial: 'fresh',
          states: {
            fresh: {
              description: 'It may die again at once.',
              after: { proof: { target: 'proven' } },
            },
            proven: {
              description: 'It has been well for long enough: its next death will be the first.',
              entry: 'forgetFailures',
            },
          },
        },
      },
    },
    frozen: {
      description: 'The process does not answer, or does not come up, and is being killed.',
      entry: 'kill',
      on: {
        'worker.exited': { target: 'waiting' },
        'worker.stop': { target: '#worker.draining.killing' },
      },
    },
    waiting: {
      description: 'The process has died; the next one is started a little later, and later with each death.',
      entry: 'countFailure',
      on: { 'worker.stop': { target: 'ended' } },
      after: { backOff: { target: 'restarting' } },
    },
    restarting: {
      description: 'The next process has been started.',
      entry: 'spawn',
      on: {
        'worker.listening': { target: 'listening' },
        'worker.exited': { target: 'waiting' },
        'worker.stop': { target: 'draining' },
      },
      after: { startDeadline: { target: 'frozen' } },
    },
    draining: {
      description: 'The process is on its way out, and is not replaced.',
      initial: 'finishing',
      on: { 'worker.exited': { target: 'ended' } },
      states: {
        finishing: {
          description: 'It accepts nothing more; its turns run to their end.',
          entry: 'askToDrain',
          after: { drainDeadline: { target: 'killing' } },
        },
        killing: {
          description: 'It took too long, and is being killed.',
          entry: 'kill',
        },
      },
    },
    ended: {
      description: 'There is no process any more, and none will follow.',
      type: 'final',
      entry: 'tellEnded',
    },
  },
})
