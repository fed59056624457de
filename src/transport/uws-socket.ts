import type { WebSocket } from 'uWebSockets.js'
import type { Socket } from './socket.ts'

/**
 * The guard around uWebSockets.js's object, whose methods throw once it is closed. A class, for there are as many as
 * connections: methods on a prototype cost a connection nothing.
 */
export class UwsSocket implements Socket {
  #ws: Pick<WebSocket<unknown>, 'send' | 'ping' | 'getBufferedAmount' | 'end' | 'close'> | undefined

  constructor(ws: WebSocket<unknown>) {
    this.#ws = ws
  }

  send(text: string): void {
    this.#ws?.send(text)
  }

  ping(): void {
    this.#ws?.ping()
  }

  buffered(): number {
    return this.#ws?.getBufferedAmount() ?? 0
  }

  end(code: number, reason: string): void {
    this.#ws?.end(code, reason)
  }

  cut(): void {
    this.#ws?.close()
  }

  /** From now on nothing touches the object. */
  closed(): void {
    this.#ws = undefined
  }
}
