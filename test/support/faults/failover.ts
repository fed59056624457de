import { fields, MASTER_NAME, type RedisCluster, type RedisProcess, type RedisSentinel, until } from '../redis.ts'

/** A group of servers of which one is the master, and another one becomes it when that one dies. */
export interface FailingOver {
  /** Who is the master now. */
  master(): Promise<RedisProcess>
  /** The others. */
  replicas(): Promise<readonly RedisProcess[]>
  /** Resolves when another one than this has taken over. */
  successorOf(dead: RedisProcess): Promise<RedisProcess>
  /** Starts a server that was killed as a replica; resolves when it has everything, and could itself take over. */
  bringBack(dead: RedisProcess): Promise<void>
}

/** The servers that sentinels watch. */
export function watchedBySentinel({ master, replicas, sentinels }: RedisSentinel): FailingOver {
  const servers = [master, ...replicas]

  async function masterBy(sentinel: RedisProcess | undefined): Promise<RedisProcess | undefined> {
    const address = await sentinel?.call('sentinel', 'get-master-addr-by-name', MASTER_NAME)
    return servers.find(({ port }) => Array.isArray(address) && Number(address[1]) === port)
  }

  /** Whether a sentinel holds everybody to be there, and the same one as the others for the master. */
  async function isSettled(sentinel: RedisProcess): Promise<boolean> {
    const list = await sentinel.call('sentinel', 'replicas', MASTER_NAME)
    const known = Array.isArray(list) ? list.map(fields) : []
    const { flags } = fields(await sentinel.call('sentinel', 'master', MASTER_NAME))
    const isWhole = known.length === servers.length - 1 && known.every((each) => each.flags === 'slave')
    return isWhole && flags === 'master' && (await masterBy(sentinel)) === (await group.master())
  }

  const group: FailingOver = {
    async master() {
      const master = await masterBy(sentinels[0])
      if (master === undefined) throw new Error('the sentinels know no master')
      return master
    },
    async replicas() {
      const master = await group.master()
      return servers.filter((each) => each !== master)
    },
    async successorOf(dead) {
      await until(async () => (await group.master()) !== dead)
      return group.master()
    },
    async bringBack(dead) {
      await dead.restart({ replicaOf: (await group.master()).port })
      // (Sentinels may change their mind meanwhile.)
      for (const sentinel of sentinels) await until(() => isSettled(sentinel))
      await until(async () => isCountedOn(await group.master(), servers.length - 1))
    },
  }
  return group
}

/** One master of a Cluster and its replica. */
export function shardOf(cluster: RedisCluster, index: number): FailingOver {
  const servers = [cluster.masters[index], cluster.replicas[index]].filter((each) => each !== undefined)
  const isMaster = async (server: RedisProcess) => {
    const isOwner = String(await server.call('info', 'replication')).includes('role:master')
    return isOwner && String(await server.call('cluster', 'info')).includes('cluster_state:ok')
  }

  async function masterBut(dead?: RedisProcess): Promise<RedisProcess | undefined> {
    for (const server of servers) if (server !== dead && (await isMaster(server))) return server
    return undefined
  }

  const group: FailingOver = {
    async master() {
      const master = await masterBut()
      if (master === undefined) throw new Error('the shard has no master')
      return master
    },
    async replicas() {
      const master = await group.master()
      return servers.filter((each) => each !== master)
    },
    async successorOf(dead) {
      await until(async () => (await masterBut(dead)) !== undefined)
      return group.master()
    },
    async bringBack(dead) {
      // It knows from its own file that it is of a Cluster, and is told by the others who has taken over.
      await dead.restart()
      await until(async () => String(await dead.call('info', 'replication')).includes('master_link_status:up'))
      await until(async () => isCountedOn(await group.master(), 1))
    },
  }
  return group
}

/** Whether a master counts on that many replicas. */
async function isCountedOn(master: RedisProcess, count: number): Promise<boolean> {
  const lines = String(await master.call('info', 'replication')).match(/^slave\d+:.*state=online/gm)
  return lines?.length === count
}
