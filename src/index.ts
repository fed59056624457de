/**
 * What a team imports from `statewire`: a server, its configuration, and the ports for parts of its own. This is the one
 * file that re-exports; inside the package, everything is imported from where it is written.
 */
export type { Clock, Timer } from './actor/clock.ts'
export type { Principal } from './channel/member.ts'
export { type Config, ConfigError, loadConfig } from './config.ts'
export type { ChannelName, SignIn } from './connection/admission.ts'
export type { Coordination, Lease } from './coordination/coordination.ts'
export type { FairQueue, QueueLimits, Ticket, Waiter } from './coordination/fair-queue.ts'
export type { RateOptions, SharedRate } from './coordination/shared-rate.ts'
export {
  type Appended,
  type AppendOptions,
  type ChannelLog,
  type Follower,
  type Head,
  LogError,
  type LogErrorCode,
  type LogRecord,
  LogUnreachable,
  type ReadLimit,
  type ReadResult,
} from './log/channel-log.ts'
export { createMemoryLog } from './log/memory-log.ts'
export { openSqliteLog } from './log/sqlite-log.ts'
export type { ServerMetrics } from './metrics/server-metrics.ts'
export {
  type ChatModel,
  ModelError,
  type ModelErrorCode,
  type ModelEvent,
  type ModelMessage,
  type ModelRequest,
} from './model/chat-model.ts'
export type { Entry, Outcome, Usage } from './protocol/entry.ts'
export type { Position } from './protocol/position.ts'
export { createServer } from './server.ts'
export type { ServerParts, ServerRole, StatewireServer } from './server-parts.ts'
export type { Telemetry } from './telemetry.ts'
export type { Route, UpgradeRequest } from './transport/upgrade.ts'
