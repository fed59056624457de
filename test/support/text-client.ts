import { once } from 'node:events'
import { onTestFinished } from 'vitest'
import WebSocket from 'ws'

/** A client that takes texts as they come, for `/ws`, where not everything is a frame. */
export interface TextClient {
  readonly ws: WebSocket
  send(text: string): void
  /** The next text; rejects where the connection closed before. */
  next(): Promise<string>
  readonly closed: Promise<{ code: number; reason: string }>
}

/** Connects; ended when the test has finished. */
export async function connectText(url: string, options: WebSocket.ClientOptions = {}): Promise<TextClient> {
  const ws = new WebSocket(url, options)
  const texts: string[] = []
  let wake: (() => void) | undefined
  ws.on('message', (data) => {
    texts.push(data.toString())
    wake?.()
  })
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
  })
  onTestFinished(() => ws.terminate())
  await once(ws, 'open')
  ws.on('error', () => {
    // A cut connection: the close event tells.
  })
  return {
    ws,
    closed,
    send: (text) => ws.send(text),
    async next() {
      for (;;) {
        const text = texts.shift()
        if (text !== undefined) return text
        if (ws.readyState === WebSocket.CLOSED) throw new Error('closed while waiting for a text')
        await Promise.race([closed, new Promise<void>((resolve) => (wake = resolve))])
      }
    },
  }
}
