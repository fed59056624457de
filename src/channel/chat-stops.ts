import type { Clock, Timer } from '../actor/clock.ts'
import { type Appended, LogError } from '../log/channel-log.ts'
import type { Entry } from '../protocol/entry.ts'
import { type ChatState, firstOpen } from './chat-state.ts'
import type { FrameLine } from './frame-line.ts'

/** What the stops need of their chat. */
export interface ChatOfStops {
  readonly state: ChatState
  /** Resolves when the log is not being read anew. Rejects with LogError. */
  whenRead(): Promise<void>
  append(entry: Entry, producer: string, sequence: number | string): Promise<Appended>
  /** The log did not take a turn's stop; told once a turn. */
  stopIsUnsaved(turn_id: string, error: unknown): void
  /** None is left of those that the log had not taken. */
  stopsAreSaved(): void
}

/** The members' stops of one chat. SPEC.md C6. */
export interface ChatStops {
  /** Ends a turn, running or waiting; the running one without `turn_id`. */
  stop(turn_id: string | undefined): void
  /** Another frame waits behind the last stop. */
  followed(): void
  /** Whether a stop is to be written: it is known here alone. */
  readonly isUnderWay: boolean
  /** The channel is forgotten. */
  end(): void
}

/** How long a stop that could not be written waits for its next try, in ms. */
const RETRY_MS = 1_000

/** A stop takes its place in the line; where the log does not take it, it is tried beside the line until its turn is over. */
export function createChatStops(chat: ChatOfStops, line: FrameLine, clock: Clock): ChatStops {
  /** What the last waiting frame would stop, where it is a stop. */
  let lastAsked: string | undefined
  /** Stops in the line. */
  let inLine = 0
  /** Turns whose stop could not be written yet, and whether that has been told. */
  const unsaved = new Map<string, boolean>()
  let timer: Timer | undefined
  let hasEnded = false

  const turnOf = (turn_id: string | undefined) =>
    (turn_id === undefined ? firstOpen(chat.state) : chat.state.open.get(turn_id))?.turn_id

  /** Whoever runs the turn reads of it in the log, on this process or another. */
  async function write(turn_id: string): Promise<void> {
    await chat.append({ type: 'stop', turn_id }, `stop:${turn_id}`, 'stop')
  }

  function keep(turn_id: string, isTold: boolean): void {
    unsaved.set(turn_id, isTold || unsaved.get(turn_id) === true)
    if (timer === undefined) tryLater()
  }

  function tryLater(): void {
    timer = clock.setTimeout(() => {
      void Promise.all(Array.from(unsaved.keys(), tryAgain)).then(() => {
        timer = undefined
        if (hasEnded) return
        if (unsaved.size > 0) tryLater()
        else chat.stopsAreSaved()
      })
    }, RETRY_MS)
  }

  async function tryAgain(turn_id: string): Promise<void> {
    try {
      await chat.whenRead()
      // It may have ended by itself, or another's stop came through.
      if (chat.state.open.get(turn_id)?.isStopWanted === false) await write(turn_id)
    } catch (error) {
      if (!isClosed(error)) {
        if (unsaved.get(turn_id) === false) chat.stopIsUnsaved(turn_id, error)
        unsaved.set(turn_id, true)
        return
      }
    }
    unsaved.delete(turn_id)
  }

  return {
    stop(turn_id) {
      // One that repeats the last frame that waits would do nothing, and must not make the others' frames wait.
      const asked = turn_id ?? ''
      if (lastAsked === asked) return
      lastAsked = asked
      let target: string | undefined
      const stop = {
        length: () => asked.length,
        async run() {
          lastAsked = undefined
          await chat.whenRead()
          target = turnOf(turn_id)
          if (target !== undefined && !unsaved.has(target)) await write(target)
          inLine--
        },
        failed(error: unknown) {
          inLine--
          lastAsked = undefined
          target ??= turnOf(turn_id)
          if (target === undefined || isClosed(error) || unsaved.has(target) || !chat.state.open.has(target)) return
          keep(target, true)
          chat.stopIsUnsaved(target, error)
        },
      }
      inLine++
      if (line.add(stop)) return
      // There is no place for it now. By the time of its first try there is.
      inLine--
      lastAsked = undefined
      target = turnOf(turn_id)
      if (target !== undefined) keep(target, false)
    },
    followed() {
      lastAsked = undefined
    },
    get isUnderWay() {
      return inLine + unsaved.size > 0
    },
    end() {
      hasEnded = true
      if (timer !== undefined) clock.clearTimeout(timer)
    },
  }
}

/** Nothing is written any more: the server ends. */
function isClosed(error: unknown): boolean {
  return error instanceof LogError && error.code === 'closed'
}
