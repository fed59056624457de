import { setup } from 'xstate'

/** What the server's actor is told. */
export type ServerEvent =
  | { type: 'server.listening' }
  /** SIGTERM, SIGINT, or `stop()`. */
  | { type: 'server.stop' }
  /** The same for one process of several. */
  | { type: 'server.leave' }
  /** No turn runs any more. */
  | { type: 'server.drained' }

/** The server's own life. SPEC.md L8. */
export const serverMachine = setup({
  types: { events: {} as ServerEvent },
  actions: {
    stopAccepting: () => {},
    /** Stops accepting, tells every connection, and `server.drained` when no turn runs. */
    drain: () => {},
    interruptTurns: () => {},
    /** Closes connections with 1001, then the log. */
    shutDown: () => {},
  },
  delays: { settling: 0, drainDeadline: 0, interruptDeadline: 0 },
}).createMachine({
  id: 'server',
  description: 'The server from its start to its stop.',
  initial: 'starting',
  states: {
    starting: {
      description: 'Opening the log, taking up unfinished turns, binding its ports.',
      on: { 'server.listening': { target: 'listening' }, 'server.stop': { target: 'stopped' } },
    },
    listening: {
      description: 'Accepting connections.',
      on: { 'server.stop': { target: 'draining' }, 'server.leave': { target: 'leaving' } },
    },
    leaving: {
      description: 'Other processes take the new connections; whoever was accepted just before is let in, and not cut.',
      entry: 'stopAccepting',
      on: { 'server.stop': { target: 'draining' } },
      after: { settling: { target: 'draining' } },
    },
    draining: {
      description: 'Accepting nothing; running turns get until the deadline.',
      initial: 'finishing',
      entry: 'drain',
      on: { 'server.drained': { target: 'stopped' } },
      states: {
        finishing: {
          description: 'Turns run to their end.',
          after: { drainDeadline: { target: 'interrupting' } },
        },
        interrupting: {
          description: 'Turns that outlived the deadline are ended as interrupted.',
          entry: 'interruptTurns',
          after: { interruptDeadline: { target: '#server.stopped' } },
        },
      },
    },
    stopped: {
      description: 'Connections are closed and the log is shut.',
      type: 'final',
      entry: 'shutDown',
    },
  },
})
