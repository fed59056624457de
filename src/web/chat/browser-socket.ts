import type { PageSocket, SocketEvents } from './connection.ts'

/** The browser's WebSocket as a {@link PageSocket}. */
export function openBrowserSocket(url: string, events: SocketEvents): PageSocket {
  const socket = new WebSocket(url)
  socket.addEventListener('open', () => events.opened())
  socket.addEventListener('message', (event: MessageEvent<unknown>) => {
    if (typeof event.data === 'string') events.message(event.data)
  })
  socket.addEventListener('close', (event) => events.closed(event.code))
  return {
    send(text) {
      // Between a loss and its event the browser throws away what is sent: the outbox keeps it.
      if (socket.readyState === WebSocket.OPEN) socket.send(text)
    },
    close: () => socket.close(1000),
  }
}
