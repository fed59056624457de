import { connectionMachine } from '../../machines/connection.machine.ts'
import type { ConnectionEvent } from '../../machines/connection-event.ts'
import type { ActorHost } from '../actor/actor-host.ts'
import { type BehaviourOf, createInterpretedHost } from '../actor/interpreted-host.ts'
import { CLOSES } from '../protocol/close-codes.ts'
import { encode, errorFrame } from '../protocol/codec.ts'
import type { Connection } from './connection.ts'
import type { ConnectionOptions } from './connection-options.ts'
import type { OnTransition } from './on-transition.ts'
import { park, readOn } from './read-on.ts'

/** What the names in `machines/connection.machine.ts` mean. Guards look at the connection's data and change nothing. */
export const connectionBehaviour: BehaviourOf<typeof connectionMachine, Connection, ConnectionEvent> = {
  guards: {
    isChat: ({ request }) => request.route === 'ai-chat' || request.route === 'chat',
    isRoom: ({ request }) => request.route === 'room',
    isEcho: ({ request }) => request.route === 'ws',
    isSilent: ({ heardAt, options }) => options.clock.now() - heardAt >= options.config.HEARTBEAT_INTERVAL_MS,
    // A ping may push what was buffered into the kernel; the reader is parked all the same until it takes it.
    // Bytes on their way are no life sign of their own: a reader that takes none of them is dead, not slow.
    isReaderSlow: (connection) =>
      (connection.socket.buffered() > 0 || connection.actor.matches('open.flow.congested')) && isMoving(connection),
    isReaderMoving: isMoving,
    isAbusive: ({ rate }) => rate.isAbusive(),
  },
  actions: {
    welcome(connection) {
      const { channel, outbox } = connection
      if (channel === undefined) return
      if (outbox.isFresh) outbox.begin(channel.epoch)
      else connection.welcome(outbox.epoch, outbox.offset)
      if (outbox.conversation_id !== undefined && !channel.hasConversation(outbox.conversation_id)) {
        outbox.answer(encode(errorFrame('conversation_unknown')))
      }
      channel.enter(connection)
    },
    // After this step: what they lead to is judged by the chart when it is `open`.
    takeWaiting: (connection) => queueMicrotask(() => connection.takeEarly()),
    sendPing(connection) {
      connection.pingedAt = connection.options.clock.now()
      connection.socket.ping()
    },
    post(connection, event) {
      if (isWriting(event)) connection.channel?.post(event, connection)
    },
    stopTurn(connection, event) {
      if (event.type === 'stop') connection.channel?.stop(event.turn_id)
    },
    signalTyping(connection) {
      connection.channel?.signal({ type: 'typing', client_id: connection.client_id }, connection)
    },
    echo(connection, event) {
      if (event.type !== 'message') return
      const { content, id } = event
      connection.outbox.answer(encode({ type: 'echo', content, ...(id !== undefined && { id }) }))
    },
    tellLimited(connection, event) {
      const retry_after_ms = connection.rate.waitMs(connection.options.clock.now())
      const id = event.type === 'rate.exceeded' ? event.id : undefined
      connection.outbox.answer(encode(errorFrame('rate_limited', { id, retry_after_ms })))
    },
    tellDraining(connection) {
      connection.outbox.answer(encode({ type: 'draining', reconnect_after_ms: connection.options.reconnectAfterMs() }))
    },
    refuseForDraining(connection, event) {
      connection.outbox.answer(encode(errorFrame('draining', { id: 'id' in event ? event.id : undefined })))
    },
    catchUp: readOn,
    park,
    tellPresence: (connection) => connection.channel?.tellPresence(connection),
    close(connection, _event, { close }) {
      connection.close = close
    },
    closeAsAsked(connection, event) {
      if (event.type === 'connection.close') connection.close = event.close
    },
    finishSending({ socket, close }) {
      const { code, reason } = CLOSES[close ?? 'fault']
      if (socket.buffered() === 0) socket.end(code, reason)
    },
    cut: ({ socket }) => socket.cut(),
    release: (connection) => connection.release(),
  },
  delays: {
    acceptDeadline: ({ options }) => options.config.ACCEPT_DEADLINE_MS,
    closeDeadline: ({ options }) => options.config.CLOSE_DEADLINE_MS,
    // Counted from the last sign of life, so that silence is noticed when it has lasted an interval, not up to two.
    heartbeatInterval: ({ heardAt, options }) =>
      Math.max(0, heardAt + options.config.HEARTBEAT_INTERVAL_MS - options.clock.now()),
    heartbeatTimeout: ({ options }) => options.config.HEARTBEAT_TIMEOUT_MS,
    limitedFor: ({ rate, options }) => rate.waitMs(options.clock.now()),
    congestedLimit: ({ progressAt, options }) =>
      Math.max(0, progressAt + options.config.CONGESTED_LIMIT_MS - options.clock.now()),
  },
}

/** Whether the reader was parked, or took something, lately. */
function isMoving({ progressAt, options }: Connection): boolean {
  return options.clock.now() - progressAt < options.config.CONGESTED_LIMIT_MS
}

/** The host of all connections' actors. */
export function createConnectionHost(
  clock: ConnectionOptions['clock'],
  onTransition?: OnTransition,
): ActorHost<Connection, ConnectionEvent> {
  return createInterpretedHost(connectionMachine, connectionBehaviour, clock, {
    ...(onTransition !== undefined && { onTransition }),
    onError: (connection, error) => connection.breakOff(error),
  })
}

type WritingEvent = Extract<
  ConnectionEvent,
  { type: 'user_message' | 'regenerate' | 'conversation_start' | 'conversation_end' | 'message' }
>

function isWriting(event: ConnectionEvent): event is WritingEvent {
  return ['user_message', 'regenerate', 'conversation_start', 'conversation_end', 'message'].includes(event.type)
}
