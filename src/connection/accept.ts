import type { ConnectionEvent } from '../../machines/connection-event.ts'
import type { ActorHost } from '../actor/actor-host.ts'
import { readAfter } from '../channel/catch-up.ts'
import type { Channels } from '../channel/channels.ts'
import type { CloseName } from '../protocol/close-codes.ts'
import { type Position, parsePosition } from '../protocol/position.ts'
import type { Socket } from '../transport/socket.ts'
import type { UpgradeRequest } from '../transport/upgrade.ts'
import { type Admission, ANONYMOUS, type SignIn } from './admission.ts'
import { Connection } from './connection.ts'
import type { ConnectionOptions } from './connection-options.ts'
import type { Turnstile } from './turnstile.ts'
import { unread } from './unread.ts'

/** What accepting a socket needs. */
export interface AcceptOptions extends ConnectionOptions {
  readonly host: ActorHost<Connection, ConnectionEvent>
  readonly admission: Admission
  readonly signIn: SignIn
  readonly channels: Channels
  readonly turnstile: Turnstile
  readonly isDraining: () => boolean
}

/** Makes a socket a connection: its actor is `accepting` when this returns, and hears of the rest. SPEC.md L4. */
export function accept(socket: Socket, request: UpgradeRequest, options: AcceptOptions): Connection {
  const connection = new Connection(socket, request, options)
  connection.actor = options.host.create(connection)
  join(connection, options).then(
    (refusal) => {
      if (refusal !== undefined) connection.actor.send({ type: 'connection.close', close: refusal })
      else connection.actor.send({ type: 'connection.joined' })
      // Who was being accepted when the drain began has not been told.
      if (options.isDraining()) connection.actor.send({ type: 'server.draining' })
    },
    (error: unknown) => unread(connection, error, 'a connection could not be joined'),
  )
  return connection
}

/** Answers why the connection is refused, if it is. */
async function join(connection: Connection, options: AcceptOptions): Promise<CloseName | undefined> {
  const { request } = connection
  // The port is closed already, but an HTTP connection from before may still ask for an upgrade.
  if (options.isDraining()) return 'draining'
  const place = options.admission.enter()
  if (place === undefined) return 'full'
  connection.place = place
  const refusal = await place.takeAddress(request.ip)
  if (refusal !== undefined) return refusal
  const principal = await options.signIn.authenticate(request)
  if (principal === undefined) return 'signIn'
  if (principal.id !== ANONYMOUS.id) {
    connection.principal = principal
    if (options.principalRate !== undefined) connection.rate.share(options.principalRate, principal.id)
    const tooMany = await place.takePrincipal(principal.id)
    if (tooMany !== undefined) return tooMany
  }
  if (request.route === 'ws') return undefined
  const { route, channel: name, isNew } = request
  if (!isNew && !(await options.signIn.authorize(connection.principal, { route, channel: name }))) return 'notAllowed'

  await options.turnstile()
  const channel = await options.channels.open(`${route}/${name}`, isNew, (opened) => {
    // Whoever went away meanwhile has been released, and must not become a member.
    if (connection.isReleased) return
    connection.channel = opened
    opened.join(connection)
  })
  if (connection.isReleased) {
    options.channels.releaseIfIdle(channel)
    return undefined
  }
  connection.outbox.conversation_id = request.query.get('conversation_id') ?? undefined
  const position = connection.outbox.conversation_id === undefined ? parsePosition(request.query) : undefined
  const epoch = position === undefined ? undefined : await epochOf(channel, position)
  if (position !== undefined && epoch !== undefined) connection.outbox.resume(epoch, position.offset)
  return undefined
}

type Opened = Awaited<ReturnType<Channels['open']>>

/** The epoch under which a position is one of the channel's log; undefined where it is not honoured. */
async function epochOf(channel: Opened, position: Position): Promise<string | undefined> {
  // Most who come back missed nothing, and need no look into the log.
  if (position.epoch === channel.epoch && position.offset === channel.head) return channel.epoch
  for (;;) {
    const { honoured, head } = await readAfter(channel, position)
    if (!honoured) return undefined
    // The log of another epoch that came meanwhile may honour something else.
    if (position.offset === 0 || head.epoch === channel.epoch) return channel.epoch
  }
}
