import { connect, type Socket } from 'node:net'

/** A WebSocket client that costs next to nothing: enough of RFC 6455 to upgrade, send short texts and count frames. */
export interface LightClient {
  readonly socket: Socket
  send(text: string): void
}

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** Connects; `onText` gets each text frame, and pings are answered. Rejects where the upgrade is refused. */
export function connectLight(port: number, path: string, onText: (text: Buffer) => void): Promise<LightClient> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let rest: Buffer = Buffer.alloc(0)
    let isOpen = false
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed before the upgrade')))
    socket.on('connect', () => {
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
      )
    })
    socket.on('data', (data) => {
      rest = rest.length === 0 ? data : Buffer.concat([rest, data])
      if (!isOpen) {
        const end = rest.indexOf('\r\n\r\n')
        if (end < 0) return
        if (!rest.subarray(0, 12).toString().endsWith('101')) {
          reject(new Error(rest.subarray(0, end).toString()))
          return
        }
        isOpen = true
        rest = rest.subarray(end + 4)
        resolve({ socket, send: (text) => socket.write(maskedText(text)) })
      }
      rest = takeFrames(rest, socket, onText)
    })
  })
}

/** Takes the whole frames off the front; answers what is left. */
function takeFrames(buffer: Buffer, socket: Socket, onText: (text: Buffer) => void): Buffer {
  let at = 0
  while (buffer.length - at >= 2) {
    const opcode = (buffer[at] ?? 0) & 15
    let length = (buffer[at + 1] ?? 0) & 127
    let header = 2
    if (length === 126) {
      if (buffer.length - at < 4) break
      length = buffer.readUInt16BE(at + 2)
      header = 4
    } else if (length === 127) {
      if (buffer.length - at < 10) break
      length = Number(buffer.readBigUInt64BE(at + 2))
      header = 10
    }
    if (buffer.length - at < header + length) break
    const payload = buffer.subarray(at + header, at + header + length)
    if (opcode === 1) onText(payload)
    else if (opcode === 9) socket.write(masked(0x8a, payload))
    at += header + length
  }
  return buffer.subarray(at)
}

function maskedText(text: string): Buffer {
  return masked(0x81, Buffer.from(text))
}

/** A client's frames are masked; a mask of zeros leaves the payload as it is. */
function masked(first: number, payload: Buffer): Buffer {
  const long = payload.length > 125
  const header = Buffer.alloc(long ? 8 : 6)
  header[0] = first
  header[1] = 128 | (long ? 126 : payload.length)
  if (long) header.writeUInt16BE(payload.length, 2)
  return Buffer.concat([header, payload])
}
