import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/config-variables.ts'
import { temporaryDirectory } from '../support/server.ts'
import { longestStopMs } from './longest-stop.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const UNIT = readFileSync(join(ROOT, 'deploy/statewire.service'), 'utf8')
const SECOND_MS = 1_000
/** Tenths, as the option takes them; what systemd calls OK ends at 4. */
const HIGHEST_EXPOSURE = 15

/** What `systemd-analyze` says of a unit that is installed where this checkout is. */
function analyze(unit: string, ...command: string[]): { status: number | null; output: string } {
  const file = join(temporaryDirectory(), 'statewire.service')
  writeFileSync(file, unit.replaceAll('/usr/bin/node', process.execPath).replaceAll(/\/opt\/statewire(?=$|\/)/gm, ROOT))
  const { status, stdout, stderr } = spawnSync('systemd-analyze', [...command, file], { encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

/** The last value of a setting of the unit. */
function setting(name: string): string {
  return [...UNIT.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].at(-1)?.[1] ?? ''
}

test('systemd understands the unit, and finds little that it leaves open', () => {
  expect(analyze(UNIT, 'verify')).toEqual({ status: 0, output: '' })
  const { status, output } = analyze(UNIT, 'security', '--offline=true', `--threshold=${HIGHEST_EXPOSURE}`)
  console.log(output.trim().split('\n').at(-1))
  expect(status).toBe(0)
})

test('a misspelt setting of the unit would be found', () => {
  expect(analyze(UNIT.replace('NoNewPrivileges', 'NoNewPrivilege'), 'verify').output).toContain('NoNewPrivilege')
})

test('a start without its Redis ends by a failure, and the unit tries again, for ever and not at once', async () => {
  const [program = '', ...args] = setting('ExecStart').split(' ')
  expect(program).toBe('/usr/bin/node')
  const env = { ...process.env, REDIS_URL: 'redis://127.0.0.1:1' }
  const source = args.map((arg) => arg.replace('/opt/statewire/dist/src/main.js', join(ROOT, 'src/main.ts')))
  const child = spawn(process.execPath, source, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [told, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  expect({ code, told }).toEqual({ code: 1, told: expect.stringContaining('cannot be reached') })
  expect([setting('Restart'), setting('RestartSec')]).toEqual(['on-failure', '3'])
  // By default, systemd gives up after five starts in ten seconds.
  expect(UNIT.slice(0, UNIT.indexOf('[Service]'))).toMatch(/^StartLimitIntervalSec=0$/m)
}, 20_000)

test('the unit sets what the server knows, and gives it the time that it may take to stop', () => {
  const pairs = setting('Environment')
    .split(' ')
    .map((pair) => pair.split('='))
  const { NODE_ENV, ...settings } = Object.fromEntries(pairs)
  expect(NODE_ENV).toBe('production')
  for (const name of Object.keys(settings)) expect(VARIABLES).toHaveProperty(name)
  expect(loadConfig(settings).DATA_DIR).toBe(`/var/lib/${setting('StateDirectory')}`)
  expect(Number(setting('TimeoutStopSec')) * SECOND_MS).toBeGreaterThan(longestStopMs(settings))
})
