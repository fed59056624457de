import { CLOSES } from '../../protocol/close-codes.ts'
import type { ChatView } from './chat.ts'

/** How the connection's state looks: `good`, `busy` (on its way somewhere), `bad`. */
export type Tone = 'good' | 'busy' | 'bad'

/** The connection in the chart's words and in plain ones. */
export interface Status {
  /** Of the chart: `open`, and while it is open what its regions say, such as `streaming` or `limited`. */
  readonly states: readonly string[]
  /** One sentence for people. */
  readonly sentence: string
  readonly tone: Tone
  /** Whether a person should be offered to connect by hand. */
  readonly canReconnect: boolean
  /** Whether the sentence is worth a line of its own above the composer. */
  readonly prominent: boolean
}

const TURN_SENTENCES = {
  idle: 'Connected',
  queued: 'Connected. Your message waits for its turn.',
  typing: 'Connected. The model is thinking.',
  streaming: 'Connected. The answer is being written.',
} as const

const ENDED_SENTENCES: ReadonlyMap<number, string> = new Map([
  [CLOSES.done.code, 'The connection has ended.'],
  [CLOSES.notAllowed.code, 'This chat cannot be joined from here. There may be too many connections open already.'],
  [CLOSES.tooBig.code, 'The last message was too long for the server.'],
  [CLOSES.signIn.code, 'Please sign in again.'],
  [CLOSES.abusive.code, 'Too many messages were sent too quickly, so the server ended the connection.'],
])

/** The status to show; `now` is the time of the chat's clock, in ms. */
export function statusOf(view: ChatView, now: number): Status {
  const { link } = view
  // In the chart's words, a connection that waits for its next one is closed.
  const status = { states: ['closed'], canReconnect: true, prominent: true, tone: 'bad' } as const
  switch (link.at) {
    case 'closed': {
      if (link.code === undefined) return { ...status, sentence: 'Disconnected' }
      return { ...status, sentence: ENDED_SENTENCES.get(link.code) ?? 'The server ended the connection.' }
    }
    case 'offline':
      return { ...status, sentence: 'You are offline. This goes on when you are back.' }
    case 'waiting': {
      const wait = secondsUntil(link.retryAt, now)
      if (wait < 1) return attemptStatus(view, 'closed', link.failures)
      return { ...status, sentence: `${lossOf(view)} Reconnecting in ${wait} s.` }
    }
    default:
      return liveStatus(view, now)
  }
}

/** The whole seconds that are left until a time, at least 0. */
export function secondsUntil(time: number, now: number): number {
  return Math.max(0, Math.round((time - now) / 1000))
}

function attemptStatus(view: ChatView, state: string, failures: number): Status {
  const status = { states: [state], tone: 'busy', canReconnect: false } as const
  // A loss that is made good at the first attempt is no news for anyone.
  if (failures > 1) return { ...status, sentence: `${lossOf(view)} Reconnecting…`, tone: 'bad', prominent: true }
  const sentence = state === 'accepting' ? 'Joining the chat…' : failures === 1 ? 'Reconnecting…' : 'Connecting…'
  return { ...status, sentence, prominent: false }
}

function lossOf(view: ChatView): string {
  return view.conversation.epoch === undefined ? 'The server cannot be reached.' : 'Connection lost.'
}

function liveStatus(view: ChatView, now: number): Status {
  const status = { canReconnect: false, prominent: false }
  const { link } = view
  const { at } = link
  if (link.at === 'connecting' || link.at === 'accepting') return attemptStatus(view, link.at, link.failures)
  if (at !== 'open') return { ...status, states: [at], sentence: 'Disconnecting…', tone: 'busy' }
  const states = [at, view.turn]
  if (view.draining) {
    const sentence = 'The server is about to restart. Your messages are kept and sent right after.'
    return { ...status, states: [...states, 'draining'], sentence, tone: 'busy', prominent: true }
  }
  if (view.limitedUntil !== undefined) {
    const wait = Math.max(1, secondsUntil(view.limitedUntil, now))
    const sentence = `You are sending too fast. Your message goes out in ${wait} s.`
    return { ...status, states: [...states, 'limited'], sentence, tone: 'busy', prominent: true }
  }
  return { ...status, states, sentence: TURN_SENTENCES[view.turn], tone: 'good' }
}
