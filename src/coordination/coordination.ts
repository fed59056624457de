import type { FairQueue, QueueLimits } from './fair-queue.ts'
import type { RateOptions, SharedRate } from './shared-rate.ts'

/**
 * The right to run a channel's turns, held until it is released or lost. `token` rises with each lease of a name: the log
 * refuses a lower one.
 */
export interface Lease {
  readonly token: number
  /** Another process may have written under this name since this one last held it. */
  readonly mayBeBehind: boolean
  release(): void
}

/** A process's ear and voice for the signals of one channel. */
export interface Signals {
  /** Reaches whoever else listens, if all goes well: signals may be lost, and are not repeated. SPEC.md G9. */
  send(text: string): void
  end(): void
}

/**
 * Gets what became of a member without its own doing: `left` where its process died or froze, `joined` where it is there
 * after all. One process is told, one that has members in the room, and tells all others.
 */
export type PresenceListener = (room: string, member: string, change: 'left' | 'joined') => void

/**
 * Gets who is in a room, in order of arrival, after what the processes share had lost it: who joined or left meanwhile may
 * not have been told. Each process is told that has members in the room.
 */
export type RefillListener = (room: string, members: readonly string[]) => void

/**
 * What the processes of a deployment share beside the logs: who runs a turn, who is in a room, how many connections an
 * address has, who may ask the model, and how much may be sent. Names are channel keys or addresses.
 */
export interface Coordination {
  /** Answers undefined where somebody else holds it. `onLost` is called at most once, when it is no longer held though not released. */
  lease(name: string, onLost: () => void): Promise<Lease | undefined>
  /** Whether anybody holds it. */
  isHeld(name: string): Promise<boolean>
  /** Listens to the signals that other processes send for a channel; one's own do not come back. */
  listen(channel: string, onSignal: (text: string) => void): Signals
  /** Enters a member of a room; answers everybody who is there now, itself included, in order of arrival. */
  enter(room: string, member: string): Promise<readonly string[]>
  /** Answers false where it has been told already that it left. */
  leave(room: string, member: string): Promise<boolean>
  /** Everybody who is there now, in order of arrival. */
  members(room: string): Promise<readonly string[]>
  /** There is one listener, for all rooms. */
  onPresence(listener: PresenceListener): void
  /** There is one listener, for all rooms. */
  onRefilled(listener: RefillListener): void
  /** Takes one place of a counter that must not exceed `limit`; answers whether there was one. */
  take(counter: string, limit: number): Promise<boolean>
  /** Gives back a place that was taken. */
  giveBack(counter: string): Promise<void>
  /** The queue of a name. Who asks for it twice gets the same one, with the limits of the first time. */
  queue(name: string, limits: QueueLimits): FairQueue
  /** The rate of a name. Who asks for it twice gets the same one, with the options of the first time. */
  rate(name: string, options: RateOptions): SharedRate
  /** Lets go of everything that this process has. */
  close(): Promise<void>
}
