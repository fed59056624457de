import { setup } from 'xstate'
import type { CloseName } from '../src/protocol/close-codes.ts'
import type { ConnectionEvent } from './connection-event.ts'

/** One connection, from the accepted socket to its release. The chart is the behaviour: SPEC.md L4 to L10, H, Q, G10. */
export const connectionMachine = setup({
  types: { events: {} as ConnectionEvent },
  guards: {
    /** The channel has a model. */
    isChat: () => false,
    isRoom: () => false,
    isEcho: () => false,
    /** Nothing was heard since the last look. */
    isSilent: () => false,
    /** Bytes wait in the socket: its reader may be too slow to answer. */
    isReaderSlow: () => false,
    /** He took something within the limit, though not all. */
    isReaderMoving: () => false,
    /** Refused for the rate more than `RATE_STRIKES` times within a minute. */
    isAbusive: () => false,
  },
  actions: {
    welcome: () => {},
    /** Hands over the frames that came too early. */
    takeWaiting: () => {},
    sendPing: () => {},
    /** Appends the frame's entry to the channel's log, if the channel takes it. */
    post: () => {},
    stopTurn: () => {},
    signalTyping: () => {},
    echo: () => {},
    tellLimited: () => {},
    tellDraining: () => {},
    refuseForDraining: () => {},
    /** Reads the log from the reader's offset until it is the head. */
    catchUp: () => {},
    park: () => {},
    tellPresence: () => {},
    /** Keeps the name of the close for `finishSending`. */
    close: (_, _params: { close: CloseName }) => {},
    closeAsAsked: () => {},
    /** Sends the close frame once nothing is buffered before it. */
    finishSending: () => {},
    cut: () => {},
    release: () => {},
  },
  delays: {
    acceptDeadline: 0,
    closeDeadline: 0,
    heartbeatInterval: 0,
    heartbeatTimeout: 0,
    limitedFor: 0,
    congestedLimit: 0,
  },
}).createMachine({
  id: 'connection',
  description: 'One WebSocket connection, from its acceptance to its release.',
  initial: 'accepting',
  states: {
    accepting: {
      description: 'Being admitted, signed in and joined to its channel. Frames that come now wait.',
      on: {
        'connection.joined': { target: 'open' },
        'connection.close': { target: 'closing', actions: 'closeAsAsked' },
        'socket.closed': { target: 'closed' },
      },
      after: {
        acceptDeadline: { target: 'closing', actions: { type: 'close', params: { close: 'fault' } } },
      },
    },
    open: {
      description: 'A member of its channel.',
      type: 'parallel',
      entry: ['welcome', 'takeWaiting'],
      on: {
        stop: { guard: 'isChat', actions: 'stopTurn' },
        conversation_start: { guard: 'isChat', actions: 'post' },
        conversation_end: { guard: 'isChat', actions: 'post' },
        message: [
          { guard: 'isRoom', actions: 'post' },
          { guard: 'isEcho', actions: 'echo' },
        ],
        typing: [
          { guard: 'isChat', actions: 'signalTyping' },
          { guard: 'isRoom', actions: 'signalTyping' },
        ],
        'connection.close': { target: 'closing', actions: 'closeAsAsked' },
        'socket.closed': { target: 'closed' },
      },
      states: {
        heartbeat: {
          description: 'Whether the other side is there. Looked at by timer, not told per message.',
          initial: 'alive',
          states: {
            alive: {
              description: 'Heard from lately.',
              after: {
                heartbeatInterval: [
                  { guard: 'isSilent', target: 'awaitingPong' },
                  { target: 'alive', reenter: true },
                ],
              },
            },
            awaitingPong: {
              description: 'Silent for an interval; a ping frame is out.',
              entry: 'sendPing',
              on: { 'socket.heard': { target: 'alive' } },
              after: {
                heartbeatTimeout: [
                  { guard: 'isReaderSlow', target: 'alive' },
                  { target: '#connection.closing', actions: { type: 'close', params: { close: 'heartbeat' } } },
                ],
              },
            },
          },
        },
        turn: {
          description: "Shows the channel's turn. The channel is the judge of turns; this is a display of its head.",
          initial: 'idle',
          states: {
            idle: {
              description: 'No turn.',
              on: {
                'turn.queued': { target: 'queued' },
                'turn.typing': { target: 'typing' },
                'turn.streaming': { target: 'streaming' },
              },
            },
            queued: {
              description: 'A turn waits for its place at the model.',
              on: {
                'turn.typing': { target: 'typing' },
                'turn.streaming': { target: 'streaming' },
                'turn.idle': { target: 'idle' },
              },
            },
            typing: {
              description: 'The model is asked and has said nothing yet.',
              on: {
                'turn.streaming': { target: 'streaming' },
                'turn.queued': { target: 'queued' },
                'turn.idle': { target: 'idle' },
              },
            },
            streaming: {
              description: 'The answer is coming in.',
              on: {
                'turn.queued': { target: 'queued' },
                'turn.typing': { target: 'typing' },
                'turn.idle': { target: 'idle' },
              },
            },
          },
        },
        rate: {
          description: 'Whether the client keeps to its rate.',
          initial: 'allowed',
          states: {
            allowed: {
              description: 'Within the rate.',
              on: {
                'rate.exceeded': [
                  {
                    guard: 'isAbusive',
                    target: '#connection.closing',
                    actions: { type: 'close', params: { close: 'abusive' } },
                  },
                  { target: 'limited', actions: 'tellLimited' },
                ],
              },
            },
            limited: {
              description: 'The bucket is empty; frames are refused until it holds one again.',
              on: {
                'rate.exceeded': [
                  {
                    guard: 'isAbusive',
                    target: '#connection.closing',
                    actions: { type: 'close', params: { close: 'abusive' } },
                  },
                  { actions: 'tellLimited' },
                ],
              },
              after: { limitedFor: { target: 'allowed' } },
            },
          },
        },
        flow: {
          description: "Where the reader's offset is, compared with the log's head.",
          initial: 'catchingUp',
          states: {
            catchingUp: {
              description: 'Reading the log from its offset: at first, after congestion, and when the log began anew.',
              entry: 'catchUp',
              on: {
                'flow.caughtUp': { target: 'flowing' },
                'socket.congested': { target: 'congested' },
              },
            },
            flowing: {
              description: 'At the head: gets what is appended, live.',
              entry: 'tellPresence',
              on: {
                'socket.congested': { target: 'congested' },
                'log.reset': { target: 'catchingUp' },
              },
            },
            congested: {
              description: 'Too slow for its socket: parked at its offset, nothing is buffered for it.',
              entry: 'park',
              on: { 'socket.drained': { target: 'catchingUp' } },
              after: {
                congestedLimit: [
                  { guard: 'isReaderMoving', target: 'congested', reenter: true },
                  { target: '#connection.closing', actions: { type: 'close', params: { close: 'slowReader' } } },
                ],
              },
            },
          },
        },
        service: {
          description: 'Whether the server takes new work.',
          initial: 'serving',
          states: {
            serving: {
              description: 'Turns may be started.',
              on: {
                user_message: { guard: 'isChat', actions: 'post' },
                regenerate: { guard: 'isChat', actions: 'post' },
                'server.draining': { target: 'draining' },
              },
            },
            draining: {
              description: 'The server goes away: running turns go on, new ones are refused.',
              entry: 'tellDraining',
              on: {
                user_message: { guard: 'isChat', actions: 'refuseForDraining' },
                regenerate: { guard: 'isChat', actions: 'refuseForDraining' },
              },
            },
          },
        },
      },
    },
    closing: {
      description: 'What is buffered goes out, then the close frame; the deadline cuts a socket that does not take it.',
      entry: ['park', 'finishSending'],
      on: {
        'socket.drained': { actions: 'finishSending' },
        'socket.closed': { target: 'closed' },
      },
      after: { closeDeadline: { target: 'closed', actions: 'cut' } },
    },
    closed: {
      description: 'The socket is gone; its membership and its place are given back.',
      type: 'final',
      entry: 'release',
    },
  },
})
