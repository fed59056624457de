import { Cluster, Redis } from 'ioredis'
import { LogError } from './channel-log.ts'
import { slotOf } from './redis-keys.ts'
import type { ConnectionOptions, RedisTarget } from './redis-url.ts'
import { redisWords } from './redis-words.ts'

/** A connection to one Redis, or to the nodes of a Cluster. */
export type RedisClient = Redis | Cluster

/** A hung connection is given up after this part of the time that a command has, so that there is time for a second try. */
const SOCKET_PART = 0.6
const MAX_RECONNECT_MS = 500
const FIRST_RECONNECT_MS = 10

/**
 * Makes a client that fails at once where there is no connection, sends nothing twice by itself, gives up a connection
 * that hangs, and goes on connecting for ever. `role` says whether it is to listen to pub/sub. It connects by itself.
 */
export function createClient(target: RedisTarget, role: 'commands' | 'wakeUps', timeoutMs: number): RedisClient {
  const options: ConnectionOptions = {
    ...target.options,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    socketTimeout: Math.ceil(timeoutMs * SOCKET_PART),
    maxRetriesPerRequest: 0,
    enableOfflineQueue: role === 'wakeUps',
    autoResubscribe: false,
    disableClientInfo: true,
    retryStrategy: pauseBefore,
    // After a failover the old master is a replica, and its connection still good.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  }
  if (target.kind === 'cluster') return createCluster(target, options, timeoutMs)
  const sentinel: ConnectionOptions = {
    sentinelRetryStrategy: pauseBefore,
    sentinelReconnectStrategy: pauseBefore,
    sentinelCommandTimeout: timeoutMs,
    failoverDetector: true,
  }
  return listening(target.kind === 'sentinel' ? new FollowingRedis({ ...options, ...sentinel }) : new Redis(options))
}

/**
 * ioredis 6 ends for good where it hears of a failover while it asks a sentinel for the master, as it does when the master was
 * killed. This one goes on until it is disconnected.
 */
class FollowingRedis extends Redis {
  #isClosed = false

  constructor(options: ConnectionOptions) {
    super(options)
    this.on('end', () => {
      setTimeout(() => {
        // What fails is told by the event `error`.
        if (!this.#isClosed) this.connect().catch(() => {})
      }, FIRST_RECONNECT_MS)
    })
  }

  override disconnect(reconnect = false): void {
    if (!reconnect) this.#isClosed = true
    super.disconnect(reconnect)
  }
}

function createCluster(
  { nodes }: Extract<RedisTarget, { kind: 'cluster' }>,
  { retryStrategy: _, enableOfflineQueue: __, ...redisOptions }: ConnectionOptions,
  timeoutMs: number,
): RedisClient {
  const options = {
    redisOptions,
    enableOfflineQueue: false,
    shardedSubscribers: true,
    clusterRetryStrategy: pauseBefore,
    slotsRefreshTimeout: timeoutMs,
    slotsRefreshInterval: 5_000,
    // Long enough that the repetitions of one command end soon after its caller has given up.
    maxRedirections: 8,
  }
  return listening(new Cluster([...nodes], options))
}

function pauseBefore(attempt: number): number {
  return Math.min(FIRST_RECONNECT_MS * 2 ** Math.min(attempt, 10), MAX_RECONNECT_MS)
}

/** What fails is told by the commands that fail; without a listener, the process would end or the console be written to. */
function listening<C extends RedisClient>(client: C): C {
  client.on('error', () => {})
  return client
}

/** Resolves when a client can be used, in its database; rejects with {@link LogError} when it cannot within the time. */
export async function whenReady(client: RedisClient, description: string, timeoutMs: number): Promise<void> {
  if (client.status !== 'ready') await becomesReady(client, description, timeoutMs)
  const database = databaseOf(client)
  if (database === 0) return
  // The client goes on in database 0 where its own does not exist.
  await client.select(database).catch((error: unknown) => {
    throw new LogError('failed', `${description} has no database ${database}: ${redisWords(error)}`)
  })
}

async function becomesReady(client: RedisClient, description: string, timeoutMs: number): Promise<void> {
  let last: unknown
  await new Promise<void>((resolve, reject) => {
    const failed = () => {
      const reason = last === undefined ? '' : `: ${redisWords(last)}`
      reject(new LogError('failed', `${description} cannot be reached${reason}`))
    }
    const timer = setTimeout(failed, timeoutMs)
    client.on('error', (error: unknown) => {
      last = error
    })
    client.once('ready', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

/** The number of the database that a client uses; a Cluster has no others than 0. */
function databaseOf(client: RedisClient): number {
  return client instanceof Cluster ? 0 : (client.options.db ?? 0)
}

/**
 * The pub/sub channel of a name for those who use a client's database. Pub/sub knows no databases: under the same name, two
 * deployments on one Redis would hear each other.
 */
export function pubSubName(client: RedisClient, name: string): string {
  const database = databaseOf(client)
  return database === 0 ? name : `sw:${database}:${name.slice('sw:'.length)}`
}

/** A name of the server that a key's commands go to: what is sent under one name goes over one connection. */
export function serverOf(client: RedisClient, key: string): string {
  if (!(client instanceof Cluster)) return ''
  // ioredis joins the addresses of a slot's servers to decide the same.
  return client.slots[slotOf(key)]?.join(';') ?? ''
}
