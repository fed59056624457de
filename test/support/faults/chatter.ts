import WebSocket from 'ws'
import { realClock } from '../../../src/client/client-clock.ts'
import { createConnection } from '../../../src/client/connection.ts'
import type { FrameOf, ServerFrame } from '../../../src/client/frames.ts'
import { acknowledged, createOutbox, type Draft } from '../../../src/client/outbox.ts'
import type { ClientSocket, SocketEvents } from '../../../src/client/socket.ts'
import { checkFrame } from '../client.ts'
import { carriedOver, createWitness } from '../witness.ts'
import type { SeenByClient } from './evidence.ts'

/** A member of one chat who comes back by himself, to any node, by the client library's own connection and outbox. */
export interface Chatter {
  readonly name: string
  readonly channel: string
  /** Sends a message, again until it is acknowledged, and waits for its turn's end. Answers the outcome. */
  ask(id: string, content: string): Promise<string>
  /** Asks for another answer; `lost` where the turn went with its log. */
  regenerate(id: string): Promise<string>
  /** Cuts his connection. */
  cut(): void
  /** Resolves when a condition holds; looks after each frame. */
  until(condition: () => boolean): Promise<void>
  /** When he was shown something of the log, in ms. */
  readonly moments: readonly number[]
  /** The ends that he was shown, by turn, in ms. */
  readonly ends: ReadonlyMap<string, number>
  /** When he was welcomed, in ms since 1970. */
  readonly welcomes: readonly number[]
  /** How long after each message an error told that it could not be stored, in ms. */
  readonly refusals: readonly number[]
  readonly counts: ChatterCounts
  seen(): SeenByClient
  close(): void
}

/** What a member did and got, over all his connections. */
export interface ChatterCounts {
  readonly connections: number
  /** A connection gets another one when its log has another epoch. */
  readonly welcomes: number
  readonly resumed: number
  readonly frames: number
  /** How often he was cut at a chunk of an answer. */
  readonly cutInAnswer: number
}

/** How long a user waits who is to try again, in ms. */
const TRY_AGAIN_MS = 200
/** Errors after which the same frame may be well. */
const PASSING = ['storage', 'busy']

/** Joins at once. `nextUrl` is called before each connection. `isCutAtEach`: each frame of the log that he gets is his connection's last. */
export function createChatter(
  name: string,
  channel: string,
  nextUrl: () => string,
  { isCutAtEach = false }: { readonly isCutAtEach?: boolean } = {},
): Chatter {
  const witness = createWitness()
  const broken: string[] = []
  const messages = new Map<string, string>()
  const acks = new Map<string, { turn_id: string; epoch: string }>()
  const positions = new Set<string>()
  const moments: number[] = []
  const welcomes: number[] = []
  const ends = new Map<string, number>()
  const refusals: number[] = []
  const sentAt = new Map<string, number>()
  const drafts = new Map<string, Draft>()
  const givenUp = new Set<string>()
  const waiting = new Set<() => void>()
  let socket: WebSocket | undefined
  let isClosed = false
  let connections = 0
  let cutInAnswer = 0
  let since = 0
  let isJoining = false
  /** The ids that the log has which he knows now. */
  let known = new Set<string>()
  /** Everything of the present log up to his joining has been shown. */
  let isWhole = false

  const openSocket = (to: string, events: SocketEvents): ClientSocket => {
    const ws = new WebSocket(to, { perMessageDeflate: false })
    socket = ws
    ws.on('open', () => {
      connections++
      events.opened()
    })
    ws.on('message', (data) => {
      const text = data.toString()
      try {
        checkFrame(text)
      } catch (error) {
        broken.push(`a frame that is none: ${String(error)}`)
      }
      events.message(text)
    })
    ws.on('close', (code, reason) => events.closed(code, reason.toString()))
    // What cannot be connected to is what this is about; `close` follows.
    ws.on('error', () => {})
    return { send: (text) => ws.send(text), close: () => ws.close(1000) }
  }

  const outbox = createOutbox({
    clock: realClock,
    send(draft) {
      if (!sentAt.has(draft.id)) sentAt.set(draft.id, performance.now())
      return connection.send(draft)
    },
    onRefused: refused,
    onFault: (error) => broken.push(error.content),
    onChange() {},
  })

  const connection = createConnection({
    url: () => `${nextUrl()}/ai-chat/${channel}`,
    position: () => (witness.epoch === '' ? undefined : { epoch: witness.epoch, offset: witness.offset }),
    openSocket,
    clock: realClock,
    random: Math.random,
    again: () => !isClosed,
    onFrame: receive,
    onLink({ at }) {
      if (at !== 'open') outbox.unlinked()
    },
  })

  function refused(id: string, { code }: FrameOf<'error'>): void {
    if (code === 'storage') refusals.push(performance.now() - (sentAt.get(id) ?? performance.now()))
    sentAt.delete(id)
    const draft = drafts.get(id)
    if (draft?.type === 'regenerate' && !PASSING.includes(code)) {
      // What it would have regenerated went with the log.
      givenUp.add(id)
      return
    }
    if (draft !== undefined) setTimeout(() => outbox.add(draft), TRY_AGAIN_MS)
  }

  function receive(frame: ServerFrame): void {
    try {
      const { epoch, offset: before } = witness
      witness.take({ ...frame })
      if (frame.type === 'welcome' && frame.epoch !== epoch && frame.offset > 0) goOn(epoch, frame)
      if (frame.type === 'welcome') joined(frame)
      else if ('offset' in frame && frame.offset !== undefined) {
        if (isJoining) since = witness.offset
        isJoining = false
        isWhole = true
        if (witness.offset > before) shown(frame, frame.offset)
      }
      for (const { id, turn_id } of acknowledged(frame)) if (id !== undefined) stored(id, turn_id)
    } catch (error) {
      broken.push(error instanceof Error ? error.message : String(error))
    }
    outbox.receive(frame)
    outbox.flush()
    for (const look of waiting) look()
    if (!isCutAtEach || !('offset' in frame) || frame.type === 'welcome' || socket?.readyState !== WebSocket.OPEN)
      return
    if (frame.type === 'ai_stream_chunk' || frame.type === 'ai_reasoning_chunk') cutInAnswer++
    socket.terminate()
  }

  function joined({ offset, resumed }: FrameOf<'welcome'>): void {
    welcomes.push(Date.now())
    if (offset !== 0) return
    // He holds nothing: what was acknowledged under the log that is no more may be gone.
    isWhole = false
    isJoining = !resumed
    since = 0
    known = new Set()
  }

  /** The log has another epoch, and he holds what he held: it must all be there under the new one. */
  function goOn(from: string, { epoch: to, offset }: FrameOf<'welcome'>): void {
    for (const position of [...positions]) {
      const carried = carriedOver(position, from, to, offset)
      if (carried === undefined) continue
      positions.add(carried)
      const message = messages.get(position)
      if (message !== undefined) messages.set(carried, message)
    }
    for (const [id, ack] of acks) if (ack.epoch === from) acks.set(id, { ...ack, epoch: to })
  }

  function shown(frame: ServerFrame, offset: number): void {
    const now = performance.now()
    moments.push(now)
    positions.add(`${witness.epoch}:${offset}`)
    if (frame.type === 'user_message') messages.set(`${witness.epoch}:${offset}`, frame.content)
    if (frame.type === 'ai_stream_end') ends.set(frame.turn_id, now)
  }

  function stored(id: string, turn_id: string | undefined): void {
    known.add(id)
    if (turn_id === undefined || !drafts.has(id)) return
    acks.set(id, { turn_id, epoch: witness.epoch })
  }

  function until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!condition()) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
    })
  }

  function send(draft: Draft): void {
    drafts.set(draft.id, draft)
    witness.sent(draft.id)
    outbox.add(draft)
  }

  const outcomeOf = (id: string) => witness.turns.get(acks.get(id)?.turn_id ?? '')?.outcome
  /** It was acknowledged, and then the log was lost with it. */
  const isLost = (id: string) => isWhole && !known.has(id) && outbox.drafts().every((draft) => draft.id !== id)

  return {
    name,
    channel,
    async ask(id, content) {
      send({ type: 'user_message', id, content })
      for (;;) {
        let wasKnown = known.has(id)
        await until(() => {
          wasKnown ||= known.has(id)
          return outcomeOf(id) !== undefined || (wasKnown && isLost(id))
        })
        const outcome = outcomeOf(id)
        if (outcome !== undefined) return outcome
        outbox.add({ type: 'user_message', id, content })
      }
    },
    async regenerate(id) {
      send({ type: 'regenerate', id })
      let turn: string | undefined
      await until(() => {
        // A history does not tell the id of a regeneration, only its turn.
        turn ??= acks.get(id)?.turn_id
        const isGone = turn === undefined ? givenUp.has(id) : isWhole && !witness.turns.has(turn)
        return isGone || witness.turns.get(turn ?? '')?.outcome !== undefined
      })
      return witness.turns.get(turn ?? '')?.outcome ?? 'lost'
    },
    cut: () => socket?.terminate(),
    until,
    moments,
    welcomes,
    ends,
    refusals,
    get counts() {
      const { welcomes, resumed, frames } = witness.counts
      return { connections, welcomes, resumed, frames, cutInAnswer }
    },
    seen: () => ({
      name,
      channel,
      epoch: witness.epoch,
      offset: witness.offset,
      states: witness.states,
      snapshots: witness.snapshots,
      messages,
      turns: witness.turns,
      acknowledged: acks,
      positions,
      since,
      broken,
    }),
    close() {
      isClosed = true
      outbox.close()
      connection.close()
      socket?.terminate()
    },
  }
}
