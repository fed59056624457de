import type { Logger } from 'pino'
import type { Clock } from './actor/clock.ts'
import type { SignIn } from './connection/admission.ts'
import type { OnTransition } from './connection/on-transition.ts'
import type { Coordination } from './coordination/coordination.ts'
import type { ChannelLog } from './log/channel-log.ts'
import type { ServerMetrics } from './metrics/server-metrics.ts'
import type { ChatModel } from './model/chat-model.ts'
import type { Telemetry } from './telemetry.ts'

/** What a team plugs in of its own; everything else is made from the configuration. */
export interface ServerParts extends Partial<SignIn> {
  /** Answers on `/ai-chat`. The default: by `MODEL_PROVIDER`. */
  readonly model?: ChatModel
  /** Where channels are kept; the server closes it when it stops. The default: by `STORE`. */
  readonly log?: ChannelLog
  /** What several servers with one log share; the server closes it when it stops. The default: by `REDIS_URL`. */
  readonly coordination?: Coordination
  /** Where the server writes what it does. The default: nowhere. */
  readonly logger?: Logger
  /** Time. The default: a timer wheel on real time. */
  readonly clock?: Clock
  /** Told of every transition of every connection, as it happens; must not throw. Where set, each event costs more. */
  readonly onTransition?: OnTransition
}

/** Whether a process is the whole server, or one of several on one port under a supervisor, which has the admin port. */
export type ServerRole = 'alone' | 'worker'

/** A server. It does nothing until it is started, and can be started once. */
export interface StatewireServer {
  /** Opens the log, takes up unfinished turns, listens. Rejects with what is in the way, in one sentence. */
  start(): Promise<void>
  /** Drains and stops: SPEC.md L8. Resolves when everything is closed; a second call waits for the first. */
  stop(): Promise<void>
  /** The ports that it is bound to, once started. */
  readonly port: number
  readonly adminPort: number
  /** Why it may not be sent connections now, or undefined: what `/readyz` on the admin port answers. */
  readiness(): Promise<string | undefined>
  /** What `/metrics` on the admin port shows. */
  readonly metrics: ServerMetrics
  readonly telemetry: Telemetry
}
