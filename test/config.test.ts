import { expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../src/config.ts'
import { VARIABLES } from '../src/config-variables.ts'

function errorOf(env: Record<string, string>): string {
  try {
    loadConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  throw new Error(`no error for ${JSON.stringify(env)}`)
}

test('the defaults are those of the table', () => {
  expect(loadConfig({})).toMatchObject({
    HOST: '127.0.0.1',
    PORT: 8000,
    ADMIN_PORT: 8001,
    STORE: 'sqlite',
    MODEL_PROVIDER: 'simulated',
    HEARTBEAT_INTERVAL_MS: 30_000,
    HEARTBEAT_TIMEOUT_MS: 10_000,
    RATE_LIMIT: 10,
    RATE_BURST: 10,
    MAX_CONNECTIONS: undefined,
    MAX_CONNECTIONS_PER_IP: undefined,
    ALLOWED_ORIGINS: undefined,
  })
})

test('the configuration cannot be changed', () => {
  const config = loadConfig({})
  expect(() => Object.assign(config, { PORT: 1 })).toThrow(TypeError)
})

test('an empty variable is an unset one, but for the system prompt', () => {
  const empty = Object.fromEntries(Object.keys(VARIABLES).map((name) => [name, '']))
  const { TRUSTED_PROXIES: some, ...emptied } = loadConfig(empty)
  const { TRUSTED_PROXIES: same, ...defaults } = loadConfig({})
  expect(emptied).toEqual({ ...defaults, SYSTEM_PROMPT: '' })
  expect(some.rules).toEqual(same.rules)
})

const WHOLE = ['x', '-1', '1.5', '1e3', ' 1', '0x10', '9'.repeat(16), 'NaN', 'Infinity', '٣']
const numbers = Object.entries(VARIABLES).filter(([, { takes }]) => /whole number|a port/.test(takes))

test.each(numbers)('%s takes whole numbers within its bounds', (name, { takes }) => {
  const [least, most] = [...takes.matchAll(/\d+/g)].map(([digits]) => Number(digits)) as [number, number]
  for (const wrong of [...WHOLE, String(most + 1), ...(least > 0 ? [String(least - 1)] : [])]) {
    expect(errorOf({ [name]: wrong })).toBe(`${name} is ${JSON.stringify(wrong)}, but takes ${takes}`)
  }
  // Several workers take it.
  const REDIS_URL = 'redis://a:1'
  for (const right of [least, most])
    expect(loadConfig({ REDIS_URL, [name]: String(right) })).toHaveProperty(name, right)
})

test('every kind of number was looked at', () => {
  expect(numbers.length).toBeGreaterThan(25)
  expect(VARIABLES.PORT.takes).toBe('a port from 0 (any free one) to 65535')
})

test.each([
  ['HOST', ['bad host', 'a/b', 'x'.repeat(256), 'http://here']],
  ['ADMIN_HOST', ['bad host']],
  ['STORE', ['redis', 'SQLite']],
  ['MODEL_PROVIDER', ['gpt']],
  ['OPENAI_BASE_URL', ['example.com', 'ftp://example.com', 'file:///etc/passwd']],
  [
    'TRUSTED_PROXIES',
    [
      'nobody',
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/-1',
      '10.0.0.0/8/8',
      '10.0.0.0/1e1',
      'fd00::/129',
      '10.0.0.1 10.0.0.2',
      '/8',
    ],
  ],
  ['ALLOWED_ORIGINS', ['example.com', 'https://example.com/', 'https://example.com/path', '*.example.com', 'null']],
  ['LOG_LEVEL', ['loud', 'INFO']],
] as const)('a wrong %s is told in one line with its name, what it got and what it takes', (name, values) => {
  for (const wrong of values) {
    const message = errorOf({ [name]: wrong })
    const got = 'secret' in VARIABLES[name] ? 'a wrong value' : JSON.stringify(wrong)
    expect(message).toBe(`${name} is ${got}, but takes ${VARIABLES[name].takes}`)
    expect(message).not.toContain('\n')
  }
})

test('a line break within a wrong value stays within the line', () => {
  expect(errorOf({ STORE: 'a\nb' })).toBe('STORE is "a\\nb", but takes `sqlite` or `memory`')
})

test('a secret is not shown, whatever else is wrong', () => {
  const OPENAI_API_KEY = 'sk-very-secret'
  for (const wrong of [{ PORT: 'x' }, { MODEL_PROVIDER: 'x' }, { OPENAI_BASE_URL: 'x' }, { REDIS_URL: 'x' }]) {
    expect(errorOf({ ...wrong, OPENAI_API_KEY })).not.toContain('secret')
  }
})

test('openai without a key and without a base URL is a contradiction, told in one line', () => {
  expect(errorOf({ MODEL_PROVIDER: 'openai' })).toMatch(/^MODEL_PROVIDER is openai, .*OPENAI_API_KEY.*OPENAI_BASE_URL/)
})

test('the model is the configured one as soon as there is a key or a base URL', () => {
  expect(loadConfig({ OPENAI_API_KEY: 'k' }).MODEL_PROVIDER).toBe('openai')
  expect(loadConfig({ OPENAI_BASE_URL: 'http://127.0.0.1:1/v1' }).MODEL_PROVIDER).toBe('openai')
  expect(loadConfig({ OPENAI_API_KEY: 'k', MODEL_PROVIDER: 'simulated' }).MODEL_PROVIDER).toBe('simulated')
})

test('more than one worker takes a Redis that they share, and a connection for each', () => {
  expect(errorOf({ WORKERS: '4' })).toBe('WORKERS is 4, which takes a REDIS_URL that the workers share; it is unset')
  expect(loadConfig({ WORKERS: '4', REDIS_URL: 'redis://a:1' }).WORKERS).toBe(4)
  expect(errorOf({ WORKERS: '4', REDIS_URL: 'redis://a:1', MAX_CONNECTIONS: '3' })).toBe(
    'MAX_CONNECTIONS is 3, but takes one for each of 4 WORKERS at least',
  )
})

test('clients and operators have two ports, whichever of them is set, with several workers too', () => {
  const told = (port: number) => `PORT and ADMIN_PORT are both ${port}, but take two ports, or 0 (any free one)`
  expect(errorOf({ PORT: '8001' })).toBe(told(8001))
  expect(errorOf({ ADMIN_PORT: '8000' })).toBe(told(8000))
  expect(errorOf({ PORT: '9000', ADMIN_PORT: '9000', WORKERS: '2', REDIS_URL: 'redis://a:1' })).toBe(told(9000))
  expect(loadConfig({ PORT: '0', ADMIN_PORT: '0' })).toMatchObject({ PORT: 0, ADMIN_PORT: 0 })
})

test.each([['ACTOR_HOST', 'compiled']])(
  '%s is for a later version: refused, rather than ignored in silence',
  (name, value) => {
    const message = errorOf({ [name]: value })
    expect(message).toContain(`${name} is not supported`)
  },
)

test('REDIS_URL takes the three deployments of Redis, and does not show its password', () => {
  for (const REDIS_URL of ['redis://a:1/2', 'redis+sentinel://a:1,b/main', 'rediss+cluster://u:p@a:1,b:2']) {
    expect(loadConfig({ REDIS_URL }).REDIS_URL).toBe(REDIS_URL)
  }
  const message = errorOf({ REDIS_URL: 'http://user:password@127.0.0.1' })
  expect(message).toMatch(/^REDIS_URL is a wrong value, but takes redis:/)
  expect(message).not.toContain('password')
})

test('what this version does anyway may be said', () => {
  expect(() => loadConfig({ REDIS_URL: '', WORKERS: '1', ACTOR_HOST: 'interpreted' })).not.toThrow()
})

test('RATE_BURST is RATE_LIMIT unless it is set', () => {
  expect(loadConfig({ RATE_LIMIT: '25' }).RATE_BURST).toBe(25)
  expect(loadConfig({ RATE_LIMIT: '25', RATE_BURST: '3' }).RATE_BURST).toBe(3)
})

test('lists take spaces and empty items; origins are compared in lower case', () => {
  const config = loadConfig({
    ALLOWED_ORIGINS: ' https://A.example ,, http://b.example:81,',
    TRUSTED_PROXIES: ' 10.0.0.0/8 , ::1 ,',
  })
  expect(config.ALLOWED_ORIGINS).toEqual(['https://a.example', 'http://b.example:81'])
  expect(config.TRUSTED_PROXIES.check('10.255.0.1', 'ipv4')).toBe(true)
  expect(config.TRUSTED_PROXIES.check('::1', 'ipv6')).toBe(true)
  expect(config.TRUSTED_PROXIES.check('11.0.0.1', 'ipv4')).toBe(false)
})
