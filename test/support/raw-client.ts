import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** RFC 6455's opcodes. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** A frame as it came over the wire. */
export interface RawFrame {
  readonly opcode: number
  readonly payload: Buffer
}

/** A WebSocket client made of bytes, for what a well-behaved one will not send. */
export interface RawClient {
  readonly socket: Socket
  /** The HTTP status of the answer to the upgrade, and its body where it was refused. */
  readonly status: number
  readonly body: string
  /** Every frame so far. */
  readonly frames: readonly RawFrame[]
  /** The next frame not yet taken; rejects where the connection ended before. */
  next(): Promise<RawFrame>
  /** Resolves when the TCP connection is gone. */
  readonly ended: Promise<void>
}

/** One frame as bytes; masked, as a client's must be, and final, unless told otherwise. */
export function frameBytes(
  opcode: number,
  payload: Buffer | string,
  { fin = true, mask = true }: { fin?: boolean; mask?: boolean } = {},
): Buffer {
  const body = Buffer.from(payload)
  const head = [(fin ? 0x80 : 0) | opcode]
  const maskBit = mask ? 0x80 : 0
  if (body.length < 126) head.push(maskBit | body.length)
  else if (body.length < 65536) head.push(maskBit | 126, body.length >> 8, body.length & 255)
  else head.push(maskBit | 127, 0, 0, 0, 0, ...uint32(body.length))
  if (!mask) return Buffer.concat([Buffer.from(head), body])
  const key = randomBytes(4)
  return Buffer.concat([Buffer.from(head), key, body.map((byte, at) => byte ^ (key[at % 4] ?? 0))])
}

/** Asks for an upgrade, byte by byte as given. `path` goes out as UTF-8, unescaped. Ended when the test has finished. */
export async function connectRaw(
  port: number,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  const lines = Object.entries({
    Host: `127.0.0.1:${port}`,
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    'Sec-WebSocket-Version': '13',
    ...headers,
  }).map(([name, value]) => `${name}: ${value}`)
  const ended = new Promise<void>((resolve) => socket.on('close', () => resolve()))
  socket.on('error', () => {
    // A reset is one of the ends that tests wait for: 'close' follows.
  })
  let pending = Buffer.alloc(0)
  const answer = new Promise<{ status: number; body: string }>((resolve, reject) => {
    const look = (data: Buffer) => {
      pending = Buffer.concat([pending, data])
      const end = pending.indexOf('\r\n\r\n')
      if (end < 0) return
      const head = pending.subarray(0, end).toString()
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
      if (pending.length < end + 4 + length) return
      socket.off('data', look)
      const body = pending.subarray(end + 4, end + 4 + length).toString()
      pending = pending.subarray(end + 4 + length)
      resolve({ status: Number(head.split(' ')[1]), body })
    }
    socket.on('data', look)
    ended.then(() => reject(new Error('ended before an answer')))
  })
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
  const { status, body } = await answer

  const frames: RawFrame[] = []
  let taken = 0
  let wake: (() => void) | undefined
  const take = (data: Buffer) => {
    pending = Buffer.concat([pending, data])
    for (let frame = parse(pending); frame !== undefined; frame = parse(pending)) {
      frames.push(frame)
      pending = pending.subarray(frame.length)
    }
    wake?.()
  }
  take(Buffer.alloc(0))
  socket.on('data', take)
  return {
    socket,
    status,
    body,
    frames,
    ended,
    async next() {
      while (taken >= frames.length) {
        if (socket.destroyed) throw new Error(`the connection ended after ${frames.length} frames`)
        await Promise.race([ended, new Promise<void>((resolve) => (wake = resolve))])
      }
      return frames[taken++] as RawFrame
    },
  }
}

/** The code and reason of a close frame. */
export function closeOf({ opcode, payload }: RawFrame): { code: number; reason: string } {
  if (opcode !== OPCODE.close) throw new Error(`opcode ${opcode} is no close: ${payload.toString()}`)
  return { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() }
}

function parse(bytes: Buffer): (RawFrame & { length: number }) | undefined {
  if (bytes.length < 2) return undefined
  const short = (bytes[1] ?? 0) & 0x7f
  const from = short === 126 ? 4 : short === 127 ? 10 : 2
  if (bytes.length < from) return undefined
  const size = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short
  if (bytes.length < from + size) return undefined
  return { opcode: (bytes[0] ?? 0) & 15, payload: bytes.subarray(from, from + size), length: from + size }
}

function uint32(value: number): number[] {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return [...bytes]
}
