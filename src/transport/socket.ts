/**
 * The socket port. Every member is safe to call at any time: on a closed socket it does nothing, where
 * uWebSockets.js's own methods throw and take the process down.
 */
export interface Socket {
  /** Sends a text frame; what the kernel does not take at once is buffered. */
  send(text: string): void
  /** Sends a WebSocket ping frame. */
  ping(): void
  /** Bytes that wait in the process, beside what the kernel holds. */
  buffered(): number
  /** Sends a close frame and closes; `closed` follows at once. */
  end(code: number, reason: string): void
  /** Cuts the TCP connection without a close frame; `closed` follows at once. */
  cut(): void
}

/** What a socket tells whoever holds it. */
export interface SocketListener {
  /** A text message. */
  message(text: string): void
  /** A binary message; its content is not looked at. */
  binary(): void
  /** A text message over the limit; its content is not looked at. */
  tooBig(): void
  /** A ping or a pong frame came. */
  heard(): void
  /** The reader took something of what is buffered. */
  progressed(): void
  /** Nothing is buffered any more. */
  drained(): void
  /** The last call. `cause` is why the transport cut it by itself, where it did. */
  closed(code: number, cause: string | undefined): void
}
