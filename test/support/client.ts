import { once } from 'node:events'
import { onTestFinished } from 'vitest'
import WebSocket from 'ws'
import { loggedFrameSchema, unloggedFrameSchema } from '../../src/protocol/server-frame.ts'

/** A frame as a client sees it. */
export type Frame = { type: string; [field: string]: unknown }

/** A client of the native protocol over a real socket. Every frame that it gets is checked against the schemas. */
export interface Client {
  readonly ws: WebSocket
  /** Every frame so far. */
  readonly frames: Frame[]
  /** Its position, by SPEC.md G1. */
  readonly position: { epoch: string; offset: number }
  /** `?epoch=…&offset=…` of its position. */
  readonly resumeQuery: string
  send(frame: object): void
  /** The next frame, not yet taken, that is of a type (and fulfils a condition); frames before it are passed over. */
  next(type: string, where?: (frame: Frame) => boolean): Promise<Frame>
  /** Resolves with the close code and reason. */
  readonly closed: Promise<{ code: number; reason: string }>
  /** Closes politely. */
  close(): Promise<void>
  /** Cuts the TCP connection. */
  cut(): void
}

/** Connects; rejects where the upgrade is refused. Ended when the test has finished. */
export async function connect(url: string, options: WebSocket.ClientOptions = {}): Promise<Client> {
  const ws = new WebSocket(url, options)
  const frames: Frame[] = []
  const position = { epoch: '', offset: 0 }
  let taken = 0
  const waiting = new Set<() => void>()
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    ws.on('close', (code, reason) => {
      resolve({ code, reason: reason.toString() })
      for (const look of waiting) look()
    })
  })
  ws.on('message', (data) => {
    const frame = checkFrame(data.toString())
    frames.push(frame)
    if (frame.type === 'welcome') {
      position.epoch = String(frame.epoch)
      position.offset = Number(frame.offset)
    } else if (typeof frame.offset === 'number' && frame.offset > position.offset) {
      position.offset = frame.offset
    }
    for (const look of waiting) look()
  })
  onTestFinished(() => ws.terminate())
  await once(ws, 'open')
  ws.on('error', () => {
    // A cut connection: the close event tells.
  })

  return {
    ws,
    frames,
    position,
    closed,
    get resumeQuery() {
      return `?epoch=${position.epoch}&offset=${position.offset}`
    },
    send: (frame) => ws.send(JSON.stringify(frame)),
    next(type, where = () => true) {
      return new Promise((resolve, reject) => {
        const look = () => {
          while (taken < frames.length) {
            const frame = frames[taken++] as Frame
            if (frame.type !== type || !where(frame)) continue
            waiting.delete(look)
            resolve(frame)
            return
          }
          if (ws.readyState !== WebSocket.CLOSED) return
          waiting.delete(look)
          reject(new Error(`closed while waiting for ${type}; got ${JSON.stringify(frames).slice(0, 2000)}`))
        }
        waiting.add(look)
        look()
      })
    },
    async close() {
      ws.close()
      await closed
    },
    cut: () => ws.terminate(),
  }
}

/** Parses a server frame and checks it against the schemas of the protocol. */
export function checkFrame(text: string): Frame {
  const json: unknown = JSON.parse(text)
  const unlogged = unloggedFrameSchema.safeParse(json)
  if (!unlogged.success) loggedFrameSchema.parse(json)
  return json as Frame
}

/** The texts of the turns that some frames show, as a client builds them: by `turn_id`, chunks joined, snapshots included. */
export function textsOf(frames: readonly Frame[]): Map<string, string> {
  const texts = new Map<string, string>()
  let position = 0
  for (const frame of frames) {
    const { type, turn_id, content, offset } = frame
    if (type === 'welcome') {
      position = Number(offset)
      if (position === 0) texts.clear()
      continue
    }
    if (typeof offset === 'number') {
      if (offset <= position) continue
      position = offset
    }
    if (type === 'history' && Array.isArray(frame.messages)) {
      for (const message of frame.messages)
        if (message.role === 'assistant') texts.set(message.turn_id, message.content)
    }
    if (typeof turn_id !== 'string' || typeof content !== 'string') continue
    if (type === 'ai_stream_chunk') texts.set(turn_id, (texts.get(turn_id) ?? '') + content)
    if (type === 'ai_message') texts.set(turn_id, content)
  }
  return texts
}
