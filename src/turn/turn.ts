import type { Logger } from 'pino'
import type { Clock } from '../actor/clock.ts'
import type { FairQueue } from '../coordination/fair-queue.ts'
import type { ChatModel, ModelRequest } from '../model/chat-model.ts'
import type { AppendOfTurn } from './end-turn.ts'

/** What one turn needs of its surroundings. */
export interface TurnOptions {
  readonly turn_id: string
  /** Which process this is that takes it up, counted from 1. */
  readonly run: number
  /** The log has its `typing` already: it was regenerated, or taken up again. */
  readonly isAsked: boolean
  /** What the model is asked; made when the first attempt begins. */
  readonly request: () => ModelRequest
  readonly model: ChatModel
  /** Whose turn it is, for fairness. */
  readonly fairKey: string
  /** Appends an entry of this turn. */
  readonly append: AppendOfTurn
  /** Told whenever the place in the model's queue changes; from 1. */
  readonly onPosition: (position: number) => void
  /** The turn is over, its terminal entry in the log. */
  readonly onEnded: () => void
  /** The terminal entry could not be written yet; it will be tried again. Told once. */
  readonly onUnsaved: () => void
}

/** A running turn. */
export interface Turn {
  stop(): void
  interrupt(): void
  /** It is no longer this process's: it ends without another word. */
  lose(): void
}

/** What all turns share. */
export interface TurnRunnerOptions {
  readonly clock: Clock
  /** In front of the model. */
  readonly queue: FairQueue
  readonly logger: Logger
  readonly maxAttempts: number
  readonly backOffMs: number
  readonly maxAnswerBytes: number
}

/** Starts a turn. */
export type RunTurn = (options: TurnOptions) => Turn
