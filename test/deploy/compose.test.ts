import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/config-variables.ts'
import { longestStopMs } from './longest-stop.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SECOND_MS = 1_000
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

interface Service {
  readonly environment?: Readonly<Record<string, string>>
  readonly ports?: readonly string[]
  readonly networks?: Readonly<Record<string, { readonly ipv4_address: string }>>
  readonly profiles?: readonly string[]
  readonly command?: readonly string[]
  readonly stop_grace_period?: string
}

const folder = mkdtempSync(join(tmpdir(), 'statewire-compose-'))
afterAll(() => rmSync(folder, { recursive: true }))
/** In place of the `.env` that a developer may have. */
const NO_ENV = join(folder, 'none.env')
writeFileSync(NO_ENV, '')

/** What Debian's docker-compose makes of the file; it refuses what it does not know. */
async function resolved(env: Readonly<Record<string, string>>) {
  const file = ['-f', join(ROOT, 'docker-compose.yml'), '--project-directory', ROOT, '--env-file', NO_ENV]
  const { stdout } = await promisify(execFile)('docker-compose', [...file, 'config'], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  })
  const { services }: { services: Record<string, Service> } = parse(stdout)
  return services
}

const addressOf = (service: Service | undefined) => service?.networks?.default?.ipv4_address ?? 'none'

describe('docker-compose.yml', async () => {
  const services = await resolved({ OPENAI_API_KEY: 'sk-from-outside' })
  const { node1, node2, nginx, redis } = services
  const { OPENAI_API_KEY, ...settings } = node1?.environment ?? {}

  test('is two alike nodes, their Redis, and nginx, which alone is published, on the loopback', () => {
    const started = Object.entries(services).filter(([, { profiles }]) => profiles === undefined)
    expect(started.map(([name]) => name).sort()).toEqual(['nginx', 'node1', 'node2', 'redis'])
    expect({ ...node1, networks: undefined }).toEqual({ ...node2, networks: undefined })
    const published = started.flatMap(([name, { ports }]) => (ports === undefined ? [] : [name, ...ports]))
    expect(published).toEqual(['nginx', '127.0.0.1:8000:8080/tcp'])
  })

  test('sets what the server knows, to what it takes', () => {
    for (const name of Object.keys(settings)) expect(VARIABLES).toHaveProperty(name)
    expect(() => loadConfig(settings)).not.toThrow()
  })

  test('has no secret in it: the key is the environment’s, and without one there is none', () => {
    expect(OPENAI_API_KEY).toBe('sk-from-outside')
    expect(parse(read('docker-compose.yml'))['x-node'].environment.OPENAI_API_KEY).toMatch(/^\$\{OPENAI_API_KEY:-\}$/)
  })

  test('gives a node the time that it may take to stop', () => {
    const [, seconds] = /^(\d+)s$/.exec(node1?.stop_grace_period ?? '') ?? []
    expect(Number(seconds) * SECOND_MS).toBeGreaterThan(longestStopMs(settings))
  })

  test('nginx and Prometheus know the nodes by their addresses, and the nodes trust nginx and nobody else', () => {
    const nodes = [node1, node2].map(addressOf)
    const upstream = [...read('deploy/nginx/nodes.conf').matchAll(/^ {2}server (\S+):8000 /gm)].map(([, ip]) => ip)
    expect(upstream).toEqual(nodes)
    expect([...read('deploy/haproxy.cfg').matchAll(/ (\S+):8000 check port 8001$/gm)].map(([, ip]) => ip)).toEqual(
      nodes,
    )
    expect(settings.TRUSTED_PROXIES).toBe(addressOf(nginx))
    const [{ static_configs }] = parse(read('otel/prometheus.yml')).scrape_configs
    expect(static_configs[0].targets).toEqual(nodes.map((ip) => `${ip}:8001`))
  })

  test('Prometheus is of the profile `observability`, and on the loopback', () => {
    expect(services.prometheus).toMatchObject({ profiles: ['observability'], ports: ['127.0.0.1:9090:9090/tcp'] })
  })

  test('nothing is sticky, and Redis drops nothing', () => {
    const balancing = ['deploy/nginx/nodes.conf', 'deploy/nginx/proxy.conf', 'deploy/haproxy.cfg']
      .map(read)
      .join('\n')
      .replaceAll(/#.*/g, '')
    expect(balancing).not.toMatch(/ip_hash|sticky|\bhash\b|cookie|balance source/)
    expect(redis?.command?.join(' ')).toMatch(/--appendonly yes .*--maxmemory-policy noeviction/)
  })
})
