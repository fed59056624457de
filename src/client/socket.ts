/** What happens to a socket. */
export interface SocketEvents {
  opened(): void
  message(text: string): void
  closed(code: number, reason: string): void
}

/** As much of a WebSocket as a connection needs. */
export interface ClientSocket {
  send(text: string): void
  close(): void
}

/** The global WebSocket, of a browser or of Node.js, as a {@link ClientSocket}. */
export function openSocket(url: string, events: SocketEvents): ClientSocket {
  const socket = new WebSocket(url)
  socket.addEventListener('open', () => events.opened())
  socket.addEventListener('message', ({ data }: { data: unknown }) => {
    if (typeof data === 'string') events.message(data)
  })
  // In Node.js 22 no `close` follows where the connection could not be made (nodejs/undici#3546).
  socket.addEventListener('error', () => {
    if (socket.readyState === WebSocket.CONNECTING) events.closed(1006, '')
  })
  socket.addEventListener('close', ({ code, reason }) => events.closed(code, reason))
  return {
    send(text) {
      // Between a loss and its event a WebSocket throws away what is sent: the outbox keeps it.
      if (socket.readyState === WebSocket.OPEN) socket.send(text)
    },
    close: () => socket.close(1000),
  }
}
