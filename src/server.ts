import { pino } from 'pino'
import { type ServerEvent, serverMachine } from '../machines/server.machine.ts'
import { createInterpretedHost } from './actor/interpreted-host.ts'
import { createTimerWheel } from './actor/timer-wheel.ts'
import type { Channels } from './channel/channels.ts'
import { runningChats } from './channel/running-chats.ts'
import { createChatsAndRooms } from './chats-and-rooms.ts'
import { type Config, ConfigError } from './config.ts'
import { accept } from './connection/accept.ts'
import { createAdmission, signInOf } from './connection/admission.ts'
import { createConnectionHost } from './connection/connection-behaviour.ts'
import { type OpenConnection, sharedRatesOf } from './connection/connection-options.ts'
import { returnSpreadMs } from './connection/return-spread.ts'
import { createTurnstile } from './connection/turnstile.ts'
import { createReading } from './connection/unread.ts'
import { openConfiguredCoordination } from './coordination/configured-coordination.ts'
import type { Coordination } from './coordination/coordination.ts'
import type { ChannelLog } from './log/channel-log.ts'
import { openConfiguredLog } from './log/configured-log.ts'
import { createServerMetrics } from './metrics/server-metrics.ts'
import { createConfiguredModel } from './model/configured-model.ts'
import { createSimulatedModel } from './model/simulated-model.ts'
import { connectionsByOpenFiles } from './open-files.ts'
import type { ServerParts, ServerRole, StatewireServer } from './server-parts.ts'
import { count, createTelemetry } from './telemetry.ts'
import { type AdminServer, listenAdmin } from './transport/admin-server.ts'
import { readPages } from './transport/pages.ts'
import { listen, type Transport } from './transport/uws-server.ts'
import { keepSweeping, keepTakingUp, takeUpUnfinished } from './upkeep.ts'

/** How long interrupted turns may take to be written at the end of a drain, in ms. */
export const INTERRUPT_DEADLINE_MS = 2_000
/** How long whoever was accepted before the port was closed may take to say what it wants, in ms. */
const SETTLING_MS = 1_000

interface Running {
  readonly log: ChannelLog
  readonly coordination: Coordination
  readonly channels: Channels
  readonly transport: Transport
  /** A worker has none: its supervisor asks it, and answers for all. */
  readonly admin: AdminServer | undefined
  readonly endUpkeep: readonly (() => void)[]
}

/**
 * Makes a server of a configuration and a team's own parts. Throws {@link ConfigError} where the configuration asks for
 * several processes: those are the command's, which gives each the role of a `worker`.
 */
export function createServer(config: Config, parts: ServerParts = {}, role: ServerRole = 'alone'): StatewireServer {
  if (config.WORKERS > 1) {
    throw new ConfigError(`WORKERS is ${config.WORKERS}, but createServer makes one process; the command makes several`)
  }
  const logger = parts.logger ?? pino({ level: 'silent' })
  const clock = parts.clock ?? createTimerWheel((error) => logger.error({ err: error }, 'a timer failed'))
  const telemetry = createTelemetry()
  const metrics = createServerMetrics(telemetry)
  const connections = new Set<OpenConnection>()
  let running: Running | undefined
  let stopped: (() => void) | undefined
  const whenStopped = new Promise<void>((resolve) => {
    stopped = resolve
  })

  const server = createInterpretedHost<typeof serverMachine, undefined, ServerEvent>(
    serverMachine,
    {
      guards: {},
      delays: {
        settling: () => SETTLING_MS,
        drainDeadline: () => config.DRAIN_MS,
        interruptDeadline: () => INTERRUPT_DEADLINE_MS,
      },
      actions: {
        stopAccepting: () => running?.transport.stopAccepting(),
        drain() {
          logger.info({ connections: connections.size }, 'draining')
          running?.transport.stopAccepting()
          for (const connection of connections) connection.actor.send({ type: 'server.draining' })
          // After this step, when the chart is `draining`.
          queueMicrotask(tellIfDrained)
        },
        interruptTurns() {
          if (running !== undefined) for (const chat of runningChats(running.channels)) chat.interrupt()
        },
        shutDown() {
          shutDown().then(stopped, (error: unknown) => {
            logger.error({ err: error }, 'the stop failed')
            stopped?.()
          })
        },
      },
    },
    clock,
    { onError: (_, error) => logger.fatal({ err: error }, 'the server failed by its own fault') },
  ).create(undefined)

  const isDraining = () => server.matches('draining') || server.matches('stopped')

  function tellIfDrained(): void {
    const isIdle = running === undefined || runningChats(running.channels).next().done === true
    if (server.matches('draining') && isIdle) server.send({ type: 'server.drained' })
  }

  async function shutDown(): Promise<void> {
    if (running === undefined) return
    const { log, coordination, transport, admin, endUpkeep } = running
    for (const end of endUpkeep) end()
    for (const connection of connections) connection.actor.send({ type: 'connection.close', close: 'draining' })
    await allReleased()
    await transport.close()
    await coordination.close()
    await log.close()
    await admin?.close()
    logger.info('stopped')
  }

  let onAllReleased: (() => void) | undefined
  /** Each closing connection has its own deadline, so this settles. */
  function allReleased(): Promise<void> {
    return new Promise((resolve) => {
      onAllReleased = resolve
      if (connections.size === 0) resolve()
    })
  }

  const health = () => ({ ok: !server.matches('stopped'), text: server.matches('stopped') ? 'stopped' : 'ok' })

  async function readiness(): Promise<string | undefined> {
    if (running === undefined || !server.matches('listening'))
      return server.matches('starting') ? 'starting' : 'draining'
    try {
      await running.log.check()
      return undefined
    } catch (error) {
      return error instanceof Error ? error.message : 'not ready'
    }
  }

  async function start(): Promise<void> {
    const log = parts.log ?? (await openConfiguredLog(config, clock))
    let coordination: Coordination | undefined
    try {
      coordination = parts.coordination ?? (await openConfiguredCoordination(config, clock, logger))
      const simulated = createSimulatedModel({ clock, delayMs: config.SIMULATED_DELAY_MS })
      const model = parts.model ?? (await createConfiguredModel(config, clock, logger)) ?? simulated
      const shared = { config, clock, logger, telemetry }
      const channels = createChatsAndRooms({
        ...shared,
        log,
        coordination,
        model,
        simulated,
        isDraining,
        onIdle: tellIfDrained,
      })
      const upkeep = { config, clock, logger, log, channels, coordination }
      const host = createConnectionHost(clock, parts.onTransition)
      const admission = createAdmission(
        {
          connections: config.MAX_CONNECTIONS ?? connectionsByOpenFiles(),
          perAddress: config.MAX_CONNECTIONS_PER_IP,
          perPrincipal: config.MAX_CONNECTIONS_PER_PRINCIPAL,
        },
        coordination,
        (error) => logger.error({ err: error }, 'a place could not be given back'),
      )
      const acceptOptions = {
        ...shared,
        host,
        admission,
        signIn: signInOf(parts),
        channels,
        ...sharedRatesOf(config, coordination),
        turnstile: createTurnstile(),
        reading: createReading(logger, clock),
        isDraining,
        reconnectAfterMs: () => Math.round(Math.random() * returnSpreadMs(connections.size, config.DRAIN_MS)),
        onReleased(connection: OpenConnection) {
          connections.delete(connection)
          telemetry.connectionsOpen = connections.size
          if (connection.channel !== undefined) channels.releaseIfIdle(connection.channel)
          if (connections.size === 0) onAllReleased?.()
        },
      }
      const transport = await listen({
        config,
        isShared: role === 'worker',
        pages: readPages(),
        onOpen(socket, request) {
          const connection = accept(socket, request, acceptOptions)
          // One whose actor failed at its start has been released already.
          if (!connection.isReleased) connections.add(connection)
          telemetry.connectionsOpened++
          telemetry.connectionsOpen = connections.size
          return connection
        },
        onRefused: (status) => count(telemetry.refusedUpgrades, status),
        onFault: (error) => logger.error({ err: error }, 'a handler of the transport failed'),
      })
      try {
        const admin = role === 'worker' ? undefined : await listenAdmin({ config, health, readiness, metrics })
        const isShared = config.REDIS_URL !== undefined || parts.coordination !== undefined
        const endUpkeep = isShared ? [keepSweeping(upkeep), keepTakingUp(upkeep)] : [keepSweeping(upkeep)]
        running = { log, coordination, channels, transport, admin, endUpkeep }
      } catch (error) {
        await transport.close()
        throw error
      }
      logger.info({ store: log.description, model: model.description }, 'store and model')
      if (!server.send({ type: 'server.listening' })) throw new Error('cannot go on: stopped while starting')
      await takeUpUnfinished(upkeep)
    } catch (error) {
      if (running === undefined) await Promise.all([log.close(), coordination?.close()])
      else if (server.send({ type: 'server.stop' })) await whenStopped
      else await shutDown()
      throw error
    }
  }

  return {
    async start() {
      await start()
      const address = `http://${config.HOST}:${running?.transport.port}`
      const admin = running?.admin && `http://${config.ADMIN_HOST}:${running.admin.port}`
      logger.info({ address, admin }, 'listening')
    },
    stop() {
      // One of several is left by and by, one that has not begun to listen at once.
      if (role === 'alone' || !server.send({ type: 'server.leave' })) server.send({ type: 'server.stop' })
      return whenStopped
    },
    get port() {
      return running?.transport.port ?? 0
    },
    get adminPort() {
      return running?.admin?.port ?? 0
    },
    readiness,
    metrics,
    telemetry,
  }
}
