import { createHash, type Hash } from 'node:crypto'
import type { Client, Frame } from './client.ts'

/** What is known of one turn. `reasoning` is unknown where the turn came from a `history`. */
interface SeenTurn {
  text: string
  reasoning: string | undefined
  outcome: string | undefined
}

/** Somebody who remembers everything that he was shown, over all his connections, and throws when it does not fit. */
export interface Witness {
  /** Takes a frame, in order; `welcome` begins a connection. */
  take(frame: Frame): void
  readonly epoch: string
  readonly offset: number
  /** `?epoch=…&offset=…`, or nothing where he never was connected. */
  readonly query: string
  /** What is shown now, by `turn_id`. */
  readonly turns: ReadonlyMap<string, Readonly<SeenTurn>>
  /** Remembers that a frame with this id was sent: its repeat may be answered by a frame that was shown before. */
  sent(id: string): void
  /** What a turn had come to at each `epoch:offset` that he was shown. */
  readonly states: ReadonlyMap<string, string>
  /** Which of these were the ends of snapshots: the turn is the one that runs, the position that of whatever entry came last. */
  readonly snapshots: ReadonlySet<string>
  readonly counts: { frames: number; welcomes: number; resumed: number }
  /** Throws where another witness, who was there all the time, saw something else at an offset: nothing was missing, nothing twice. */
  compare(reference: Witness): void
}

/**
 * The rules of a client by SPEC.md G1, G4 and G13, and three more that no server may break: within a connection offsets
 * rise, what stood at an offset stands there for ever, and a turn's text only grows.
 */
export function createWitness(): Witness {
  const turns = new Map<string, SeenTurn>()
  const states = new Map<string, string>()
  const longest = new Map<string, string>()
  /** Of each turn's text and reasoning, so that a long one costs no more for each chunk than the chunk. */
  const digests = new Map<string, { readonly text: Hash; readonly reasoning: Hash }>()
  const ids = new Set<unknown>()
  const snapshots = new Set<string>()
  let isFresh = false
  let connection: unknown
  const counts = { frames: 0, welcomes: 0, resumed: 0 }
  let epoch = ''
  let offset = 0

  function fail(what: string, frame: Frame): never {
    throw new Error(`${what} at ${epoch}:${offset}: ${JSON.stringify(frame).slice(0, 300)}`)
  }

  function turnOf(turn_id: string): SeenTurn {
    const turn = turns.get(turn_id) ?? { text: '', reasoning: '', outcome: undefined }
    turns.set(turn_id, turn)
    return turn
  }

  function welcome(frame: Frame): void {
    counts.welcomes++
    if (frame.resumed === true) {
      counts.resumed++
      const isOther = frame.epoch !== epoch && offset > 0
      // On the same connection, it may be past entries that nobody is shown. SPEC.md G8.
      const isSame = frame.connection_id !== undefined && frame.connection_id === connection
      const isMine = isSame ? Number(frame.offset) >= offset : frame.offset === offset
      if (!isMine) fail('resumed elsewhere than asked', frame)
      if (isOther) goOn(String(frame.epoch), Number(frame.offset))
    } else if (frame.offset !== 0) {
      fail('a fresh welcome with an offset', frame)
    }
    connection = frame.connection_id
    epoch = String(frame.epoch)
    offset = Number(frame.offset)
    isFresh = frame.resumed !== true
    if (offset !== 0) return
    turns.clear()
    digests.clear()
  }

  /** What he holds is what the log under its new epoch has, or he would have been told. */
  function goOn(next: string, upTo: number): void {
    for (const [key, state] of [...states]) {
      const carried = carriedOver(key, epoch, next, upTo)
      if (carried === undefined) continue
      states.set(carried, state)
      if (snapshots.has(key)) snapshots.add(carried)
    }
    for (const id of turns.keys()) {
      const text = longest.get(`${epoch}:${id}`)
      if (text !== undefined) longest.set(`${next}:${id}`, text)
    }
  }

  function digestOf(turn_id: string) {
    const digest = digests.get(turn_id) ?? { text: createHash('sha1'), reasoning: createHash('sha1') }
    digests.set(turn_id, digest)
    return digest
  }

  function apply(frame: Frame): string | undefined {
    const turn_id = typeof frame.turn_id === 'string' ? frame.turn_id : undefined
    if (frame.type === 'history' && Array.isArray(frame.messages)) {
      for (const message of frame.messages) {
        if (message.role !== 'assistant') continue
        turns.set(message.turn_id, { text: message.content, reasoning: undefined, outcome: message.outcome })
      }
    }
    // Signals come beside the log: one may tell of a turn that went with it. SPEC.md G9.
    if (turn_id === undefined || frame.type === 'error' || frame.type === 'queued') return undefined
    const turn = turnOf(turn_id)
    const content = String(frame.content ?? '')
    switch (frame.type) {
      case 'ai_stream_chunk':
      case 'ai_reasoning_chunk':
        if (turn.outcome !== undefined) fail('a chunk after the end', frame)
        if (frame.type === 'ai_stream_chunk') turn.text += content
        else turn.reasoning = (turn.reasoning ?? '') + content
        digestOf(turn_id)[frame.type === 'ai_stream_chunk' ? 'text' : 'reasoning'].update(content)
        break
      case 'ai_message':
        turn.text = content
        turn.reasoning = typeof frame.reasoning === 'string' ? frame.reasoning : ''
        digests.delete(turn_id)
        digestOf(turn_id).text.update(turn.text)
        digestOf(turn_id).reasoning.update(turn.reasoning)
        break
      case 'ai_stream_end':
        if (turn.outcome !== undefined) fail('a second end', frame)
        turn.outcome = String(frame.outcome)
    }
    return turn_id
  }

  return {
    take(frame) {
      counts.frames++
      if (frame.type === 'welcome') return welcome(frame)
      const at = typeof frame.offset === 'number' ? frame.offset : undefined
      if (at !== undefined && at <= offset && ids.has(frame.id)) return
      // The snapshot of a channel without entries: after it, a client still holds nothing.
      if (at === 0 && frame.type === 'history') return
      if (at !== undefined && at <= offset) fail('an offset that was shown before', frame)
      const turn_id = apply(frame)
      if (at === undefined) return
      offset = at
      // Chunks only add: what could change a text is a snapshot, or a whole answer in place of its chunks.
      const changed = isFresh ? [...turns.keys()] : frame.type === 'ai_message' ? [String(turn_id)] : []
      for (const id of changed) {
        const known = longest.get(`${epoch}:${id}`)
        if (known !== undefined && !turns.get(id)?.text.startsWith(known)) fail(`the text of ${id} changed`, frame)
      }
      for (const id of isFresh ? turns.keys() : [turn_id ?? ''])
        longest.set(`${epoch}:${id}`, turns.get(id)?.text ?? '')
      const wasFresh = isFresh
      isFresh = false
      const turn = turns.get(turn_id ?? '')
      if (turn_id === undefined || turn?.reasoning === undefined) return
      const { text, reasoning } = digestOf(turn_id)
      const state = `${turn_id} ${sumOf(text)} ${sumOf(reasoning)} ${turn.outcome ?? ''}`
      const key = `${epoch}:${at}`
      if ((states.get(key) ?? state) !== state) fail('something else than before', frame)
      states.set(key, state)
      if (wasFresh) snapshots.add(key)
    },
    get epoch() {
      return epoch
    },
    get offset() {
      return offset
    },
    get query() {
      return epoch === '' ? '' : `?epoch=${epoch}&offset=${offset}`
    },
    sent: (id) => void ids.add(id),
    turns,
    states,
    snapshots,
    counts,
    compare(reference) {
      for (const [key, state] of states) {
        const other = reference.states.get(key)
        if (other === undefined && snapshots.has(key)) continue
        if (other !== state) throw new Error(`at ${key} one saw ${state}, the other ${other}`)
      }
    },
  }
}

/** An `epoch:offset` under the epoch that goes on from that one up to an offset; undefined where it is none of those. */
export function carriedOver(position: string, from: string, to: string, upTo: number): string | undefined {
  const [epoch, offset] = position.split(':')
  return epoch === from && Number(offset) <= upTo ? `${to}:${offset}` : undefined
}

/** A witness at work on one connection. */
export interface Watch {
  /** How many frames he has taken of it. */
  readonly taken: number
  /** Resolves when a condition holds; rejects with what the witness threw, or where the connection ended before. */
  until(condition: () => boolean): Promise<void>
}

/** Hands a client's frames to a witness, from the first on; cuts the connection after `limit` of them. */
export function watch(client: Client, witness: Witness, limit = Number.POSITIVE_INFINITY): Watch {
  let taken = 0
  let failure: unknown
  const waiting = new Set<() => void>()

  function look(): void {
    try {
      while (taken < client.frames.length && taken < limit) witness.take(client.frames[taken++] as Frame)
    } catch (error) {
      failure ??= error
    }
    if (taken >= limit) client.cut()
    for (const wake of waiting) wake()
  }
  client.ws.on('message', look)
  client.ws.on('close', look)
  look()

  return {
    get taken() {
      return taken
    },
    until(condition) {
      return new Promise((resolve, reject) => {
        const wake = () => {
          const isClosed = client.ws.readyState === client.ws.CLOSED
          if (failure === undefined && !condition() && !isClosed) return
          waiting.delete(wake)
          if (failure !== undefined) reject(failure)
          else if (condition()) resolve()
          else
            reject(new Error(`closed after ${taken} frames: ${JSON.stringify(client.frames.slice(-3)).slice(0, 500)}`))
        }
        waiting.add(wake)
        wake()
      })
    },
  }
}

function sumOf(hash: Hash): string {
  return hash.copy().digest('base64url')
}
