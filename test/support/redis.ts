import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from './free-port.ts'

/** A redis-server process of the test's own, on a port of its own. */
export interface RedisProcess {
  readonly port: number
  /** `redis://127.0.0.1:<port>`. */
  readonly url: string
  /** Asks it something, over a connection of its own. */
  call(command: string, ...args: (string | number)[]): Promise<unknown>
  /** Resolves when it has ended. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Stops it where it is: its sockets stay open, and nothing is answered. */
  freeze(): void
  wake(): void
  /** Starts it again on its port, after a kill; `empty` without what it had stored, `replicaOf` as the replica of a port. */
  restart(options?: { readonly empty?: boolean; readonly replicaOf?: number }): Promise<void>
  /** Ends it and removes its folder. */
  close(): Promise<void>
}

/** A master, its replicas, and the sentinels that watch them. */
export interface RedisSentinel {
  /** `redis+sentinel://…/<master name>`. */
  readonly url: string
  readonly master: RedisProcess
  readonly replicas: readonly RedisProcess[]
  readonly sentinels: readonly RedisProcess[]
  /** The port of whom the sentinels hold to be the master now. */
  masterPort(): Promise<number>
  close(): Promise<void>
}

/** A Cluster of three masters; each may have a replica. */
export interface RedisCluster {
  /** `redis+cluster://…`. */
  readonly url: string
  readonly masters: readonly RedisProcess[]
  readonly replicas: readonly RedisProcess[]
  close(): Promise<void>
}

/** What the sentinels call the master. */
export const MASTER_NAME = 'statewire'
/** Of a Cluster; the masters have equal parts, in order. */
export const SLOTS = 16_384
/** How long a round of confirmations may take, in ms. */
const CONFIRM_MS = 200
const POLL_MS = 20
/** How often a sentinel says that it is there, and how often until all know each other. */
const HELLO_MS = 2_000
const FIRST_HELLO_MS = 100

/** Starts one redis-server. It saves every write (AOF, an fsync each) with `durable`, else nothing. */
export async function startRedis(
  options: { readonly durable?: boolean; readonly args?: readonly string[]; readonly sentinel?: string } = {},
): Promise<RedisProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'statewire-redis-'))
  const port = await freePort()
  const saving = options.durable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no']
  const common = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder]
  const server = [...common, '--save', '', ...saving, '--repl-diskless-sync', 'no', ...(options.args ?? [])]
  if (options.sentinel !== undefined) await writeFile(join(folder, 'sentinel.conf'), options.sentinel)
  const args = options.sentinel === undefined ? server : [join(folder, 'sentinel.conf'), '--sentinel', ...common]
  let child: ChildProcess
  let ended: Promise<unknown>
  let client: Redis | undefined

  async function start(more: readonly string[] = []): Promise<void> {
    // It ends with this process, however that ends: a test that is cut off would leave it behind.
    child = spawn('setpriv', ['--pdeathsig', 'KILL', 'redis-server', ...args, ...more], { stdio: 'ignore' })
    const own = child
    ended = new Promise((resolve) => {
      own.once('exit', resolve)
      own.once('error', resolve)
    })
    let hasEnded = false
    void ended.then(() => {
      hasEnded = true
    })
    await until(async () => {
      if (hasEnded) throw new Error(`redis-server on port ${port} has ended`)
      return (await ask('ping')) === 'PONG'
    })
  }

  /** Undefined where it cannot be reached. */
  async function ask(command: string, ...rest: (string | number)[]): Promise<unknown> {
    client ??= listening(new Redis(port, '127.0.0.1', { maxRetriesPerRequest: 0, retryStrategy: () => POLL_MS }))
    try {
      return await client.call(command, ...rest)
    } catch (error) {
      if (error instanceof Error && error.name === 'ReplyError') throw error
      return undefined
    }
  }

  async function kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    child.kill(signal)
    await ended
  }

  await start()
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    call: ask,
    kill,
    freeze: () => void child.kill('SIGSTOP'),
    wake: () => void child.kill('SIGCONT'),
    async restart({ empty = false, replicaOf } = {}) {
      if (empty) {
        await rm(folder, { recursive: true })
        await mkdir(folder)
      }
      await start(replicaOf === undefined ? [] : ['--replicaof', '127.0.0.1', `${replicaOf}`])
    },
    async close() {
      client?.disconnect()
      await kill()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Starts a master with replicas, and three sentinels that fail over after `downAfterMs` without an answer. */
export async function startSentinel(
  options: { readonly replicas?: number; readonly downAfterMs?: number } = {},
): Promise<RedisSentinel> {
  const { replicas: count = 1, downAfterMs = 500 } = options
  const master = await startRedis()
  const replicas = await Promise.all(
    Array.from({ length: count }, () => startRedis({ args: ['--replicaof', '127.0.0.1', `${master.port}`] })),
  )
  await Promise.all(replicas.map((replica) => isReplicating(replica, master)))
  const conf = [
    `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${master.port} 2`,
    `sentinel down-after-milliseconds ${MASTER_NAME} ${downAfterMs}`,
    `sentinel failover-timeout ${MASTER_NAME} 1000`,
    '',
  ].join('\n')
  const sentinels = await Promise.all([1, 2, 3].map(() => startRedis({ sentinel: conf })))
  const sayHelloEvery = (ms: number) =>
    Promise.all(sentinels.map((each) => each.call('sentinel', 'debug', 'publish-period', ms)))
  await sayHelloEvery(FIRST_HELLO_MS)
  // Before they know each other and the replicas, nobody could be elected.
  for (const sentinel of sentinels) {
    await until(async () => {
      const known = fields(await sentinel.call('sentinel', 'master', MASTER_NAME))
      return known['num-other-sentinels'] === '2' && known['num-slaves'] === `${count}`
    })
  }
  await sayHelloEvery(HELLO_MS)
  return {
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${MASTER_NAME}`,
    master,
    replicas,
    sentinels,
    async masterPort() {
      const address = await sentinels[0]?.call('sentinel', 'get-master-addr-by-name', MASTER_NAME)
      return Number(Array.isArray(address) ? address[1] : Number.NaN)
    },
    close: () => closeAll([...sentinels, ...replicas, master]),
  }
}

/** Starts a Cluster of three masters, with `replicas` (0 or 1) each. */
export async function startCluster(options: { readonly replicas?: 0 | 1 } = {}): Promise<RedisCluster> {
  const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '800', '--cluster-require-full-coverage', 'no']
  const start = () => startRedis({ args: [...args, '--cluster-replica-validity-factor', '0'] })
  const masters = await Promise.all([start(), start(), start()])
  const replicas = options.replicas === 1 ? await Promise.all([start(), start(), start()]) : []
  const all = [...masters, ...replicas]
  await Promise.all(all.map((node, n) => node.call('cluster', 'set-config-epoch', n + 1)))
  for (const [n, node] of masters.entries()) {
    const range = [Math.ceil((n * SLOTS) / 3), Math.ceil(((n + 1) * SLOTS) / 3) - 1]
    await node.call('cluster', 'addslotsrange', ...range)
  }
  for (const node of all.slice(1)) await node.call('cluster', 'meet', '127.0.0.1', all[0]?.port ?? 0)
  const isWhole = async (node: RedisProcess) => {
    const info = String(await node.call('cluster', 'info'))
    return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${all.length}`)
  }
  for (const node of all) await until(() => isWhole(node))
  for (const [n, replica] of replicas.entries()) {
    const id = String(await masters[n]?.call('cluster', 'myid'))
    await until(async () => String(await replica.call('cluster', 'nodes')).includes(id))
    await replica.call('cluster', 'replicate', id)
  }
  await Promise.all(masters.flatMap((master, n) => replicas.slice(n, n + 1).map((each) => isReplicating(each, master))))
  return {
    url: `redis+cluster://${masters.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    masters,
    replicas,
    close: () => closeAll(all),
  }
}

/**
 * Resolves when a replica follows its master, and the master counts on it: before that, a failover may not recover at all.
 * Redis 7 takes up to a second more until it confirms what it has, and nothing that waits for it can be written until then.
 */
export async function isReplicating(replica: RedisProcess, master: RedisProcess): Promise<void> {
  await until(async () => String(await replica.call('info', 'replication')).includes('master_link_status:up'))
  await until(async () => /slave.*state=online/.test(String(await master.call('info', 'replication'))))
  await until(async () => {
    const [, count] = /connected_slaves:(\d+)/.exec(String(await master.call('info', 'replication'))) ?? []
    // (What is published is replicated, and changes no key.)
    await master.call('publish', 'replicating', '')
    return Number(await master.call('wait', Number(count), CONFIRM_MS)) >= Number(count)
  })
}

/** Resolves when a check answers true; asks again and again, because no event tells it. */
export async function until(check: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
}

/** A reply of names and values, one after the other. */
export function fields(reply: unknown): Record<string, string> {
  const list = Array.isArray(reply) ? reply.map(String) : []
  return Object.fromEntries(list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1] ?? '']] : [])))
}

function listening(client: Redis): Redis {
  // What cannot be reached is what these tests are about.
  client.on('error', () => {})
  return client
}

async function closeAll(processes: readonly RedisProcess[]): Promise<void> {
  await Promise.all(processes.map((each) => each.close()))
}
