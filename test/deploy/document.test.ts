import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/config-variables.ts'
import { parseRedisUrl } from '../../src/log/redis-url.ts'
import { INTERRUPT_DEADLINE_MS } from '../../src/server.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const DOCUMENT = read('docs/deploy.md')

/** Those of Docker, of the compose file, of Node.js and of the tutorial. */
const OTHERS = ['NODE_IMAGE', 'RUNTIME_IMAGE', 'PUBLISH_HOST', 'NODE_EXTRA_CA_CERTS', 'DEEPSEEK_API_KEY']

test('docs/deploy.md names settings and files that exist', () => {
  const names = [...DOCUMENT.matchAll(/\b[A-Z]+(?:_[A-Z]+)+\b/g)].map(([name]) => name)
  expect(names).not.toEqual([])
  expect(names.filter((name) => !(name in VARIABLES) && !OTHERS.includes(name))).toEqual([])
  const files = [...DOCUMENT.matchAll(/\]\((\.\.\/[^)]+)\)/g)].map(([, file = '']) => join('docs', file))
  expect(files).not.toEqual([])
  expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([])
})

test('docs/deploy.md names the defaults as they are', () => {
  const { DRAIN_MS, CLOSE_DEADLINE_MS, HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS } = loadConfig({})
  expect([HEARTBEAT_INTERVAL_MS, HEARTBEAT_INTERVAL_MS + HEARTBEAT_TIMEOUT_MS]).toEqual([30_000, 40_000])
  expect([DRAIN_MS, CLOSE_DEADLINE_MS, CLOSE_DEADLINE_MS + INTERRUPT_DEADLINE_MS]).toEqual([10_000, 5_000, 7_000])
})

test('the forms of REDIS_URL in docs/deploy.md are read', () => {
  const urls = [...DOCUMENT.matchAll(/`(rediss?(?:\+\w+)?:\/\/[^`…]+)`/g)].map(([, url = '']) => url)
  expect(urls.map((url) => parseRedisUrl(url).kind)).toEqual(['single', 'sentinel', 'cluster'])
})
