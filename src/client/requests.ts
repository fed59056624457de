import { ChatError } from './chat-error.ts'
import { type Conversation, itemOf, offsetOf } from './conversation.ts'
import type { ServerFrame } from './frames.ts'
import { acknowledged } from './outbox.ts'
import type { LiveTurn } from './turn.ts'

/** Who waits for what becomes of a draft. */
export interface Waiting {
  /** Where the draft becomes a turn. */
  readonly live?: LiveTurn
  stored(): void
  fail(error: ChatError): void
}

/** All that this client has asked for and that has not come to its end, by the drafts' ids. */
export interface Requests {
  add(id: string, waiting: Waiting): void
  /** To be told of each frame after the conversation has taken it. */
  receive(frame: ServerFrame, conversation: Conversation): void
  /** Ends the turn that a draft is, or becomes. */
  stop(id: string): void
  stopTurn(turnId: string): void
  fail(id: string, error: ChatError): void
  failAll(error: ChatError): void
}

interface Request extends Waiting {
  turnId?: string
  isStopWanted?: boolean
}

/** See {@link Requests}. */
export function createRequests(send: (frame: object) => void): Requests {
  const all = new Map<string, Request>()
  /** Turns that are to be stopped and have not ended: a stop that was lost with its connection is told again, which does no harm (SPEC.md C6). */
  const stops = new Set<string>()
  let epoch: string | undefined
  let join: 'snapshot' | 'replay' | 'whole' = 'whole'

  function fail(id: string, error: ChatError): void {
    const request = all.get(id)
    all.delete(id)
    request?.fail(error)
  }

  function joined(frame: Extract<ServerFrame, { type: 'welcome' }>): void {
    join = frame.offset > 0 ? 'whole' : frame.resumed ? 'replay' : 'snapshot'
    // Another log is replayed from its beginning: nothing of the old one comes again. SPEC.md G5.
    if (join === 'replay' && frame.epoch !== epoch) {
      for (const [id, { turnId }] of all) if (turnId !== undefined) fail(id, lost())
    }
    epoch = frame.epoch
  }

  function stored(id: string, turnId: string | undefined): void {
    const request = all.get(id)
    if (request === undefined || request.turnId !== undefined) return
    request.stored()
    if (request.live === undefined || turnId === undefined) {
      all.delete(id)
      return
    }
    request.turnId = turnId
    request.live.accept(turnId)
    if (request.isStopWanted) stopTurn(turnId)
  }

  function tellStop(turn_id: string): void {
    send({ type: 'stop', turn_id })
  }

  function stopTurn(turnId: string): void {
    stops.add(turnId)
    tellStop(turnId)
  }

  function show(id: string, { live, turnId }: Request, { items }: Conversation): void {
    if (live?.isSettled()) all.delete(id)
    if (live === undefined || turnId === undefined) return
    const item = itemOf(items, turnId)
    const answer = item?.answer?.turnId === turnId ? item.answer : undefined
    const isTrue = live.show(answer)
    // Its log was lost, or what was said here was lost with it, or the question has got another answer.
    const isLost = item === undefined || item.answer !== answer || !isTrue
    if (isLost && join === 'whole') fail(id, lost())
    else if (live.isSettled()) all.delete(id)
  }

  return {
    add: (id, waiting) => void all.set(id, waiting),
    fail,
    stopTurn,
    stop(id) {
      const request = all.get(id)
      if (request?.turnId !== undefined) stopTurn(request.turnId)
      else if (request !== undefined) request.isStopWanted = true
    },
    failAll(error) {
      for (const id of all.keys()) fail(id, error)
    },
    receive(frame, conversation) {
      if (frame.type === 'welcome') joined(frame)
      // Of a snapshot only the last frame has an offset. SPEC.md G3.
      else if (join === 'snapshot' && offsetOf(frame) !== undefined) join = 'whole'
      for (const { id, turn_id } of acknowledged(frame)) if (id !== undefined) stored(id, turn_id)
      for (const [id, request] of all) show(id, request, conversation)
      if (frame.type === 'welcome') stops.forEach(tellStop)
      for (const turnId of stops) {
        if (itemOf(conversation.items, turnId)?.answer?.outcome !== undefined) stops.delete(turnId)
      }
    },
  }
}

/** The log was lost, or the turn is too old to be told of, or its question has got another answer. */
function lost(): ChatError {
  return new ChatError('lost', 'The server has lost this answer.')
}
