import type { ConnectionEvent } from '../../machines/connection-event.ts'
import type { HostOptions } from '../actor/actor-host.ts'
import type { Connection } from './connection.ts'

/** Hears of every transition of every connection. */
export type OnTransition = NonNullable<HostOptions<Connection, ConnectionEvent>['onTransition']>
