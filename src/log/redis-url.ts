import type { ClusterNode, RedisOptions } from 'ioredis'
import { LogError } from './channel-log.ts'

/** Options of a connection, without those that change the types of answers. */
export type ConnectionOptions = Omit<RedisOptions, 'replyMapping' | 'himportFieldsets'>

/** Where Redis is, and how it is deployed. */
export type RedisTarget =
  | { readonly kind: 'single'; readonly options: ConnectionOptions; readonly description: string }
  | { readonly kind: 'sentinel'; readonly options: ConnectionOptions; readonly description: string }
  | {
      readonly kind: 'cluster'
      readonly nodes: readonly ClusterNode[]
      readonly options: ConnectionOptions
      readonly description: string
    }

const FORM = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^?#]*))?$/
const DEFAULT_PORT = 6379
const SENTINEL_PORT = 26379
const HELP =
  'redis://[user:password@]host:port[/db], redis+sentinel://[user:password@]host:port,host:port/<master name>[/db] or redis+cluster://[user:password@]host:port,host:port (rediss for TLS)'

/**
 * Reads the address of a Redis: `redis://[user:password@]host:port[/db]`, `redis+sentinel://…host:port,host:port/<master
 * name>[/db]`, `redis+cluster://…host:port,host:port`; `rediss` in place of `redis` is TLS. User and password may be
 * percent-encoded, and are those of the Redis servers. Throws {@link LogError} that does not show the address: it may hold
 * a password.
 */
export function parseRedisUrl(url: string): RedisTarget {
  const [, scheme, deployment, login, hostList = '', path = ''] = FORM.exec(url) ?? refuse('it is not of the form')
  const tls = scheme === 'rediss' ? { tls: {} } : {}
  const options: ConnectionOptions = { ...tls, ...loginOf(login) }
  const hosts = hostList
    .split(',')
    .map((host) => hostOf(host, deployment === 'sentinel' ? SENTINEL_PORT : DEFAULT_PORT))
  const names = hosts.map(({ host, port }) => `${host}:${port}`).join(', ')
  const parts = path === '' ? [] : path.split('/')
  if (deployment === 'cluster') {
    if (parts.length > 0) refuse('a Cluster has no numbered databases')
    return { kind: 'cluster', nodes: hosts, options, description: `redis cluster at ${names}` }
  }
  if (deployment === 'sentinel') {
    const [name, db, ...more] = parts
    if (name === undefined || name === '' || more.length > 0) refuse('the name of the master is missing')
    const sentinel = {
      sentinels: hosts,
      name: decode(name ?? ''),
      db: dbOf(db),
      enableTLSForSentinelMode: 'tls' in tls,
    }
    return {
      kind: 'sentinel',
      options: { ...options, ...sentinel, ...('tls' in tls ? { sentinelTLS: {} } : {}) },
      description: `redis ${decode(name ?? '')} by the sentinels at ${names}`,
    }
  }
  const [db, ...more] = parts
  const [first] = hosts
  if (hosts.length > 1 || first === undefined || more.length > 0) refuse('it names more than one server')
  return { kind: 'single', options: { ...options, ...first, db: dbOf(db) }, description: `redis at ${names}` }
}

function loginOf(login: string | undefined): ConnectionOptions {
  if (login === undefined || login === '') return {}
  const colon = login.indexOf(':')
  const username = decode(colon < 0 ? login : login.slice(0, colon))
  const password = colon < 0 ? '' : decode(login.slice(colon + 1))
  return { ...(username !== '' && { username }), ...(password !== '' && { password }) }
}

function hostOf(text: string, defaultPort: number): { host: string; port: number } {
  const [, ipv6, name, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::([0-9]{1,5}))?$/.exec(text) ?? []
  const host = ipv6 ?? name
  if (host === undefined || Number(port ?? 1) > 65_535) return refuse('a host is not of the form')
  return { host, port: Number(port ?? defaultPort) }
}

function dbOf(text: string | undefined): number {
  if (text === undefined || text === '') return 0
  return /^[0-9]{1,4}$/.test(text) ? Number(text) : refuse('the database is not a number')
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return refuse('its percent-encoding is broken')
  }
}

function refuse(why: string): never {
  throw new LogError('failed', `the address of Redis cannot be used: ${why}; it takes ${HELP}`)
}
