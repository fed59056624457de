import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type Answer, createAnswer, type HeldAnswer, requestBody, type UpstreamRequest } from './upstream-answer.ts'
import { echo, type Script } from './upstream-scripts.ts'

/**
 * A real OpenAI-compatible server on 127.0.0.1 that misbehaves when asked to.
 *
 *     const upstream = await startUpstream()
 *     createOpenAiModel({ baseUrl: upstream.baseUrl, … })     // by default it repeats the user's words
 *     upstream.next(stall({ after: 2 }))                      // the next answer only; scripts: upstream-scripts.ts
 *     upstream.always(status(500))                            // every answer without a script of its own
 *     const answer = upstream.hold()                          // the next answer by hand, token by token
 *     await answer.requested; answer.say('hello '); answer.finish()
 *     (await upstream.request(0)).body.messages               // the first request, as soon as it is there
 *     await upstream.close()
 */
export interface Upstream {
  /** Such as `http://127.0.0.1:40123/v1`. */
  readonly baseUrl: string
  /** Every well-formed request so far, in order of arrival. */
  readonly requests: readonly UpstreamRequest[]
  /** The request with this index, from 0; waits until it has arrived. */
  request(index: number): Promise<UpstreamRequest>
  /** Scripts one answer. Several calls script one answer each, in order. */
  next(script: Script): void
  /** Scripts every answer that has none of its own. */
  always(script: Script): void
  /** The next answer is given by the test itself. */
  hold(): HeldAnswer
  /** How many TCP connections are open now, and how many there ever were. */
  connections(): { readonly open: number; readonly ever: number }
  /** Ends all sockets and the server. */
  close(): Promise<void>
}

/** Starts one on a free port, or on `port`, where a test needs an upstream that comes back. */
export async function startUpstream(port = 0): Promise<Upstream> {
  const requests: UpstreamRequest[] = []
  const awaited = new Map<number, PromiseWithResolvers<UpstreamRequest>>()
  const scripts: Script[] = []
  const sockets = new Set<Socket>()
  let fallback: Script = echo()
  let ever = 0

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readText(incoming)
    const refusal = refusalOf(incoming, text)
    if (refusal !== undefined) {
      response.writeHead(refusal.status, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ error: { message: refusal.message, type: 'invalid_request_error', code: null } }))
      return
    }
    const { answer, request } = createAnswer(requests.length, incoming, requestBody.parse(JSON.parse(text)), response)
    requests.push(request)
    awaited.get(request.index)?.resolve(request)
    await (scripts.shift() ?? fallback)(answer, request)
  }

  const server = createServer((incoming, response) => {
    handle(incoming, response).catch((error: unknown) => {
      // A script's own fault must show, and a client that hung up while it sent its request is none.
      if (!incoming.complete) return
      response.destroy()
      throw error
    })
  })
  server.on('connection', (socket) => {
    ever++
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')

  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    async request(index) {
      const there = requests[index]
      if (there !== undefined) return there
      const waiting = awaited.get(index) ?? Promise.withResolvers<UpstreamRequest>()
      awaited.set(index, waiting)
      return waiting.promise
    },
    next: (script) => void scripts.push(script),
    always(script) {
      fallback = script
    },
    hold() {
      const held = createHeldAnswer()
      scripts.push(held.script)
      return held.answer
    },
    connections: () => ({ open: sockets.size, ever }),
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** An answer that exists before its request does. */
function createHeldAnswer(): { script: Script; answer: HeldAnswer } {
  const { promise: requested, resolve } = Promise.withResolvers<UpstreamRequest>()
  let arrived: Answer | undefined
  function current(): Answer {
    if (arrived === undefined) throw new Error('there is no request yet: first await answer.requested')
    return arrived
  }
  return {
    script(answer, request) {
      arrived = answer
      resolve(request)
    },
    answer: {
      requested,
      open: () => current().open(),
      say: (text) => current().say(text),
      reason: (text, field) => current().reason(text, field),
      chunk: (json) => current().chunk(json),
      raw: (data) => current().raw(data),
      finish: (how) => current().finish(how),
      end: () => current().end(),
      reset: () => current().reset(),
      refuse: (code, how) => current().refuse(code, how),
      flushed: () => current().flushed(),
    },
  }
}

async function readText(incoming: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of incoming) parts.push(part)
  return Buffer.concat(parts).toString('utf8')
}

/** A real upstream refuses what it does not understand, so that a wrong request cannot pass a test. */
function refusalOf(incoming: IncomingMessage, text: string): { status: number; message: string } | undefined {
  const path = new URL(incoming.url ?? '/', 'http://upstream').pathname
  if (incoming.method !== 'POST' || path !== '/v1/chat/completions') return { status: 404, message: 'no such route' }
  try {
    const body = requestBody.safeParse(JSON.parse(text))
    return body.success ? undefined : { status: 400, message: body.error.message }
  } catch (error) {
    return { status: 400, message: String(error) }
  }
}
