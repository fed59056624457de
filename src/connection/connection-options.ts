import type { Logger } from 'pino'
import type { ConnectionEvent } from '../../machines/connection-event.ts'
import type { Actor } from '../actor/actor-host.ts'
import type { Clock } from '../actor/clock.ts'
import type { Channel } from '../channel/channel.ts'
import type { Config } from '../config.ts'
import type { Coordination } from '../coordination/coordination.ts'
import type { SharedRate } from '../coordination/shared-rate.ts'
import type { Outages } from '../failing.ts'
import type { Limits } from '../protocol/server-frame.ts'
import type { Telemetry } from '../telemetry.ts'

/** What the server knows of a connection. */
export interface OpenConnection {
  readonly actor: Actor<ConnectionEvent>
  readonly channel: Channel | undefined
}

/** What the connections of an address, or of a principal, may send together. Absent where there is no such limit. */
export interface SharedRates {
  readonly addressRate?: SharedRate
  readonly principalRate?: SharedRate
}

/** The rates of a configuration. SPEC.md Q5. */
export function sharedRatesOf(
  config: Pick<Config, 'RATE_LIMIT_PER_IP' | 'RATE_LIMIT_PER_PRINCIPAL'>,
  coordination: Coordination,
): SharedRates {
  const rate = (name: string, limit: number) => coordination.rate(name, { perSecond: limit, burst: limit })
  const { RATE_LIMIT_PER_IP: perAddress, RATE_LIMIT_PER_PRINCIPAL: perPrincipal } = config
  return {
    ...(perAddress !== undefined && { addressRate: rate('address', perAddress) }),
    ...(perPrincipal !== undefined && { principalRate: rate('principal', perPrincipal) }),
  }
}

/** What all connections share. */
export interface ConnectionOptions extends SharedRates {
  readonly config: Pick<
    Config,
    | 'RATE_LIMIT'
    | 'RATE_BURST'
    | 'RATE_STRIKES'
    | 'FREE_RATE_LIMIT'
    | 'MAX_MESSAGE_BYTES'
    | 'HEARTBEAT_INTERVAL_MS'
    | 'HEARTBEAT_TIMEOUT_MS'
    | 'ACCEPT_DEADLINE_MS'
    | 'CLOSE_DEADLINE_MS'
    | 'CONGESTED_LIMIT_MS'
  >
  readonly clock: Clock
  readonly logger: Logger
  readonly telemetry: Telemetry
  /** Connections for which the log could not be reached. */
  readonly reading: Outages
  /** When a client is to come back after a drain: another answer for each. In ms. */
  readonly reconnectAfterMs: () => number
  /** A connection has given everything back. */
  readonly onReleased: (connection: OpenConnection) => void
}

/** What `welcome` tells a client to keep to. */
export function limitsOf({ config }: ConnectionOptions): Limits {
  return {
    max_message_bytes: config.MAX_MESSAGE_BYTES,
    rate_limit: config.RATE_LIMIT,
    rate_burst: config.RATE_BURST,
    heartbeat_interval_ms: config.HEARTBEAT_INTERVAL_MS,
    heartbeat_timeout_ms: config.HEARTBEAT_TIMEOUT_MS,
  }
}
