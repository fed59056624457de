import { execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { VARIABLES } from '../src/config-variables.ts'
import { helpText, versionText } from '../src/help.ts'

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))

/** Runs the server's command to its end. */
function run(args: string[], env: Record<string, string> = {}): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const options = {
      env: { ...process.env, STORE: 'memory', PORT: '0', ADMIN_PORT: '0', LOG_LEVEL: 'silent', ...env },
    }
    const child = execFile(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', MAIN, ...args],
      options,
      (_error, out, err) => resolve({ code: child.exitCode ?? -1, out, err }),
    )
    onTestFinished(() => void child.kill('SIGKILL'))
  })
}

async function takenPort(): Promise<string> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return String(address.port)
}

test('--help lists every variable with its default, one a line', () => {
  const lines = helpText().split('\n')
  for (const [name, { fallback, fallbackText }] of Object.entries(VARIABLES)) {
    const line = lines.find((each) => each.trim().startsWith(`${name} `))
    const byDefault = (fallbackText ?? (fallback === undefined || fallback === '' ? 'unset' : fallback)).replaceAll(
      '`',
      '',
    )
    expect(line?.endsWith(`[${byDefault}]`), name).toBe(true)
  }
})

test('--version is that of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  expect(versionText()).toBe(`statewire ${version}\n`)
})

test('the command answers --help and --version and starts nothing', async () => {
  const [help, version, short] = await Promise.all([run(['--help']), run(['--version']), run(['-h'])])
  expect(help).toEqual({ code: 0, out: helpText(), err: '' })
  expect(version).toEqual({ code: 0, out: versionText(), err: '' })
  expect(short.out).toBe(help.out)
})

test('what an operator can mend is one line and exit code 1, and nothing is in the log', async () => {
  const port = await takenPort()
  const env = { LOG_LEVEL: 'info' }
  const runs = await Promise.all([
    run([], { ...env, HEARTBEAT_INTERVAL_MS: '10s' }),
    run(['--prot=80'], env),
    run([], { ...env, PORT: port }),
    run([], { ...env, ADMIN_PORT: port }),
    run([], { ...env, DATA_DIR: '/dev/null/x', STORE: 'sqlite' }),
    run([], { ...env, REDIS_URL: 'redis://127.0.0.1:1' }),
  ])
  for (const { code, out, err } of runs) {
    expect(err).toMatch(/^statewire: [^\n]+\n$/)
    expect({ code, out }, err).toEqual({ code: 1, out: '' })
  }
  const [variable, unknown, taken, adminTaken, noFolder, noRedis] = runs.map(({ err }) => err)
  expect(variable).toContain('HEARTBEAT_INTERVAL_MS is "10s", but takes a whole number of ms from 50 to 3600000')
  expect(unknown).toContain('--prot')
  expect(taken).toContain(`cannot listen on 127.0.0.1:${port} (HOST, PORT): `)
  expect(adminTaken).toContain(`cannot listen on 127.0.0.1:${port} (ADMIN_HOST, ADMIN_PORT): `)
  expect(noFolder).toContain('/dev/null/x/statewire.db cannot be opened')
  expect(noRedis).toContain('redis at 127.0.0.1:1 cannot be reached')
})

test('so it is with several workers, which are asked once and not again and again', async () => {
  const port = await takenPort()
  const workers = { LOG_LEVEL: 'info', WORKERS: '2', REDIS_URL: `redis://127.0.0.1:${port}` }
  const runs = await Promise.all([
    run([], { LOG_LEVEL: 'info', WORKERS: '2' }),
    run([], { ...workers, PORT: port }),
    run([], { ...workers, ADMIN_PORT: port }),
    // Where Redis should be, nobody speaks its language.
    run([], workers),
  ])
  for (const { code, out, err } of runs) {
    expect(err).toMatch(/^statewire: [^\n]+\n$/)
    expect({ code, out }, err).toEqual({ code: 1, out: '' })
  }
  const [alone, taken, adminTaken, noRedis] = runs.map(({ err }) => err)
  expect(alone).toContain('WORKERS is 2, which takes a REDIS_URL')
  expect(taken).toContain(`cannot listen on 127.0.0.1:${port} (HOST, PORT): `)
  expect(adminTaken).toContain(`cannot listen on 127.0.0.1:${port} (ADMIN_HOST, ADMIN_PORT): `)
  expect(noRedis).toContain(`redis at 127.0.0.1:${port}`)
})

test('the start-up log shows address, store and model', async () => {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN], {
    env: {
      ...process.env,
      STORE: 'memory',
      PORT: '0',
      ADMIN_PORT: '0',
      OPENAI_API_KEY: 'sk-secret',
      MODEL: 'some-model',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let out = ''
  for await (const data of child.stdout) {
    out += String(data)
    if (out.includes('listening')) break
  }
  expect(out).toContain('"store":"memory')
  expect(out).toContain('some-model')
  expect(out).toMatch(/"address":"http:\/\/127\.0\.0\.1:\d+"/)
  expect(out).not.toContain('sk-secret')
})
