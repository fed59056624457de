import uWS from 'uWebSockets.js'
import { isIPv6 } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import type { Config } from '../config.ts'
import type { Pages } from './pages.ts'
import type { Socket, SocketListener } from './socket.ts'
import { clientAddress, isOriginAllowed, parsePath, type UpgradeRequest } from './upgrade.ts'
import { UwsSocket } from './uws-socket.ts'

/** What the transport needs to know. */
export interface TransportOptions {
  readonly config: Pick<Config, 'HOST' | 'PORT' | 'MAX_MESSAGE_BYTES' | 'ALLOWED_ORIGINS' | 'TRUSTED_PROXIES'>
  /** Whether other processes of this server listen on the port, too. */
  readonly isShared: boolean
  readonly pages: Pages
  /** A socket was accepted. The listener gets what happens to it from now on. */
  readonly onOpen: (socket: Socket, request: UpgradeRequest) => SocketListener
  /** A request was refused before it became a socket. */
  readonly onRefused: (status: number, ip: string) => void
  /** A handler threw: that socket is cut. */
  readonly onFault: (error: unknown) => void
}

/** A listening transport. */
export interface Transport {
  /** The port that it is bound to. */
  readonly port: number
  /** Stops accepting; sockets stay. */
  stopAccepting(): void
  /** Cuts every socket that is left, once what was sent to it is with the kernel. */
  close(): Promise<void>
}

interface UserData {
  request: UpgradeRequest
  socket: UwsSocket | undefined
  listener: SocketListener | undefined
}

const HTTP_STATUS = { 400: '400 Bad Request', 403: '403 Forbidden', 404: '404 Not Found' } as const
const REFUSALS = {
  400: 'A channel name is 1 to 128 characters of A-Za-z0-9._~-.\n',
  403: 'This origin may not connect.\n',
  404: 'Not found. WebSocket routes: /ai-chat[/{channel}], /chat[/{channel}], /room/{channel}, /ws.\n',
} as const

/** The subprotocol that is chosen where a client offers some; a browser that offered one insists on an answer. */
const SUBPROTOCOL = 'statewire.v1'

/** Fragments that uWebSockets.js collects for one message, as a multiple of ours: what is above is cut, not closed with 1009. */
const PAYLOAD_FACTOR = 4

/** More than one socket may ever have buffered; beyond it uWebSockets.js drops frames, which must not happen. */
const MAX_BACKPRESSURE_BYTES = 64 * 1024 * 1024

/** Binds and listens. Rejects where the port is taken or the address is not this machine's. */
export function listen(options: TransportOptions): Promise<Transport> {
  const { config, onFault } = options
  const app = uWS.App()
  app.ws<UserData>('/*', {
    maxPayloadLength: config.MAX_MESSAGE_BYTES * PAYLOAD_FACTOR,
    maxBackpressure: MAX_BACKPRESSURE_BYTES,
    // The chart's own timers are the heartbeat; uWebSockets.js's would cut a parked reader, and its lifetime everybody.
    idleTimeout: 0,
    maxLifetime: 0,
    sendPingsAutomatically: false,
    compression: uWS.DISABLED,
    upgrade(res, req, context) {
      upgrade(options, res, req, context)
    },
    open(ws) {
      const data = ws.getUserData()
      const socket = new UwsSocket(ws)
      data.socket = socket
      guard(ws, onFault, () => {
        data.listener = options.onOpen(socket, data.request)
      })
    },
    message(ws, message, isBinary) {
      const { listener } = ws.getUserData()
      if (listener === undefined) return
      guard(ws, onFault, () => {
        if (isBinary) listener.binary()
        else if (message.byteLength > config.MAX_MESSAGE_BYTES) listener.tooBig()
        // Decoded at once: the buffer is taken back when this handler returns.
        else listener.message(Buffer.from(message).toString())
      })
    },
    ping: (ws) => guard(ws, onFault, () => ws.getUserData().listener?.heard()),
    pong: (ws) => guard(ws, onFault, () => ws.getUserData().listener?.heard()),
    drain(ws) {
      const data = ws.getUserData()
      data.listener?.progressed()
      if (ws.getBufferedAmount() > 0) return
      // Not within this handler: of what is sent in here, a rest that the kernel does not take would never go out, for
      // uSockets stops waiting for the socket to be writable when the handler returns (oven-sh/bun#38177).
      setImmediate()
        .then(() => data.listener?.drained())
        .catch((error: unknown) => {
          onFault(error)
          data.socket?.cut()
        })
    },
    close(ws, code, message) {
      const data = ws.getUserData()
      data.socket?.closed()
      // What uWebSockets.js cuts by itself has its reason as the message, and code 1006.
      const cause = code === 1006 ? Buffer.from(message).toString() || 'connection lost' : undefined
      const { listener } = data
      data.listener = undefined
      try {
        listener?.closed(code, cause)
      } catch (error) {
        onFault(error)
      }
    },
  })
  app.any('/*', (res, req) => {
    const page = req.getMethod() === 'get' || req.getMethod() === 'head' ? options.pages.find(req.getUrl()) : undefined
    if (page === undefined) return refuse(options, res, 404)
    // uWebSockets.js takes an answer without a body for none, and ends the process where nobody would hear of an abort.
    res.onAborted(() => {})
    res.cork(() => {
      res.writeStatus('200 OK')
      for (const [name, value] of page.headers) res.writeHeader(name, value)
      if (req.getMethod() === 'head') res.endWithoutBody(page.body.byteLength)
      else res.end(page.body)
    })
  })
  return bind(app, options)
}

function bind(app: uWS.TemplatedApp, { config: { HOST, PORT }, isShared }: TransportOptions): Promise<Transport> {
  return new Promise((resolve, reject) => {
    const onListen = (listening: uWS.us_listen_socket | false) => {
      if (listening === false) {
        app.close()
        const where = `${isIPv6(HOST) ? `[${HOST}]` : HOST}:${PORT}`
        reject(
          new Error(
            `cannot listen on ${where} (HOST, PORT): the port is taken, or the address is not this machine's, or not known`,
          ),
        )
        return
      }
      let accepting = true
      const stopAccepting = () => {
        if (accepting) uWS.us_listen_socket_close(listening)
        accepting = false
      }
      resolve({
        port: uWS.us_socket_local_port(listening),
        stopAccepting,
        async close() {
          stopAccepting()
          // What is sent from within a handler goes out when that handler returns.
          await setImmediate()
          app.close()
        },
      })
    }
    // uWebSockets.js shares ports by default: without this option a stranger's would be shared in silence. The typings lack both.
    const { LIBUS_LISTEN_EXCLUSIVE_PORT } = uWS as unknown as { LIBUS_LISTEN_EXCLUSIVE_PORT: number }
    const { listen } = app as unknown as {
      listen(host: string, port: number, options: number, done: typeof onListen): void
    }
    listen.call(app, HOST, PORT, isShared ? 0 : LIBUS_LISTEN_EXCLUSIVE_PORT, onListen)
  })
}

function upgrade(
  options: TransportOptions,
  res: uWS.HttpResponse,
  req: uWS.HttpRequest,
  context: uWS.us_socket_context_t,
) {
  const { config } = options
  const headers: Record<string, string> = Object.create(null)
  req.forEach((name, value) => {
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  })
  const ip = addressOf(res, headers, config)
  const path = parsePath(req.getUrl())
  if (typeof path === 'number') return refuse(options, res, path, ip)
  if (!isOriginAllowed(headers.origin, headers.host, config.ALLOWED_ORIGINS)) return refuse(options, res, 403, ip)
  const request: UpgradeRequest = { ...path, query: new URLSearchParams(req.getQuery() ?? ''), headers, ip }
  const offered = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim())
  res.upgrade<UserData>(
    { request, socket: undefined, listener: undefined },
    headers['sec-websocket-key'] ?? '',
    offered?.includes(SUBPROTOCOL) ? SUBPROTOCOL : '',
    headers['sec-websocket-extensions'] ?? '',
    context,
  )
}

function addressOf(
  res: uWS.HttpResponse,
  headers: Readonly<Record<string, string>>,
  config: TransportOptions['config'],
) {
  const remote = Buffer.from(res.getRemoteAddressAsText()).toString()
  return clientAddress(remote, headers['x-forwarded-for'], config.TRUSTED_PROXIES)
}

function refuse(options: TransportOptions, res: uWS.HttpResponse, status: keyof typeof HTTP_STATUS, ip?: string): void {
  options.onRefused(status, ip ?? Buffer.from(res.getRemoteAddressAsText()).toString())
  res.cork(() => {
    res.writeStatus(HTTP_STATUS[status]).writeHeader('content-type', 'text/plain; charset=utf-8').end(REFUSALS[status])
  })
}

/** A fault in a handler ends that socket and no other; an exception that reached uWebSockets.js would end the process. */
function guard(ws: uWS.WebSocket<UserData>, onFault: (error: unknown) => void, run: () => void): void {
  try {
    run()
  } catch (error) {
    onFault(error)
    ws.getUserData().socket?.cut()
  }
}
