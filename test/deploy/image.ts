// `npm run test:image`, as root on Debian with buildah and debootstrap: builds the image of the Dockerfile and runs it, without
// Docker and without its registry. The base image is made by debootstrap, of the distribution of the real one, with the
// Node.js and the npm that run this script. It takes minutes, so `npm test` leaves it out.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { connect } from '../../src/client/index.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SUITE = 'bookworm'
const MB = 1_000_000
const UID = '10001'
/** Slow enough that SIGTERM comes in mid-answer. */
const WORD_MS = '100'
const DRAIN_MS = '20000'

const scratch = mkdtempSync(join(tmpdir(), 'statewire-image-'))
const storage = ['--root', join(scratch, 'storage'), '--runroot', join(scratch, 'run'), '--storage-driver', 'vfs']
const env = { ...process.env, BUILDAH_ISOLATION: 'chroot' }

/** Runs buildah to its end; answers what it wrote. */
function buildah(...args: string[]): string {
  const stdio = ['ignore', 'pipe', 'pipe'] as const
  return execFileSync('buildah', [...storage, ...args], { env, stdio: [...stdio], encoding: 'utf8', cwd: ROOT }).trim()
}

/** What `buildah inspect` says of an image's configuration, as far as we ask. */
interface Config {
  readonly User: string
  readonly Env: readonly string[]
  readonly Cmd: readonly string[]
  readonly Volumes: Readonly<Record<string, unknown>>
  readonly StopSignal: string
  readonly Healthcheck: { readonly Test: readonly string[] }
}

function makeBases(): void {
  const rootfs = join(scratch, 'rootfs')
  execFileSync('debootstrap', ['--variant=minbase', SUITE, rootfs], { stdio: ['ignore', 'ignore', 'inherit'] })
  // What Debian's own image for containers leaves out, too.
  for (const left of ['var/cache/apt', 'var/lib/apt/lists', 'usr/share/doc', 'usr/share/man', 'usr/share/locale']) {
    rmSync(join(rootfs, left), { recursive: true, force: true })
  }
  const base = buildah('from', 'scratch')
  buildah('copy', base, rootfs, '/')
  buildah('commit', '--format', 'docker', base, 'runtime')
  const npm = dirname(dirname(process.env.npm_execpath ?? assert.fail('run it by npm run test:image')))
  buildah('copy', base, process.execPath, '/usr/local/bin/node')
  buildah('copy', base, npm, '/usr/local/lib/node_modules/npm')
  buildah('run', base, '--', 'ln', '-s', '/usr/local/lib/node_modules/npm/bin/npm-cli.js', '/usr/local/bin/npm')
  // A network of its own may have its own certificates.
  const certificates = process.env.NODE_EXTRA_CA_CERTS
  if (certificates !== undefined) {
    buildah('copy', base, certificates, '/etc/ssl/extra.crt')
    buildah('config', '--env', 'NODE_EXTRA_CA_CERTS=/etc/ssl/extra.crt', base)
  }
  buildah('commit', '--format', 'docker', base, 'node22')
  buildah('rm', base)
}

/** The image's configuration. */
function build(): Config {
  const bases = ['--build-arg', 'NODE_IMAGE=localhost/node22', '--build-arg', 'RUNTIME_IMAGE=localhost/runtime']
  buildah('bud', '--format', 'docker', '--network', 'host', ...bases, '-t', 'statewire', '.')
  const image: { Docker: { config: Config } } = JSON.parse(buildah('inspect', '--type', 'image', 'statewire'))
  return image.Docker.config
}

/** The size of what an image holds, in MB. */
function megabytes(image: string): number {
  const tar = join(scratch, 'image.tar')
  buildah('push', '-q', image, `docker-archive:${tar}`)
  const { size } = statSync(tar)
  rmSync(tar)
  return Math.round(size / MB)
}

async function startContainer(container: string, cmd: readonly string[]) {
  // Without a network of its own it would listen on this machine's every address: here, and only here, on the loopback.
  const settings = { HOST: '127.0.0.1', PORT: '0', ADMIN_PORT: '0', SIMULATED_DELAY_MS: WORD_MS, DRAIN_MS }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['--env', `${name}=${value}`])
  const child = spawn('buildah', [...storage, 'run', '--network', 'host', ...flags, container, '--', ...cmd], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return { ...(await listening(child)), child }
}

/** Where a container's server listens, and its process: chroot isolation gives it a number of this machine's. */
function listening(child: ChildProcess): Promise<{ address: string; admin: string; pid: number }> {
  return new Promise((resolve, reject) => {
    const output = child.stdout ?? assert.fail('no output')
    createInterface({ input: output }).on('line', (line) => {
      console.log(`  ${line}`)
      const { address, admin, pid } = JSON.parse(line)
      if (address !== undefined) resolve({ address, admin, pid })
    })
    child.once('exit', (code) => reject(new Error(`the container ended at its start with ${code}`)))
  })
}

function hasDevelopmentTools(root: string): string[] {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
  return Object.keys(packages).filter((path) => packages[path].dev === true && existsSync(join(root, 'app', path)))
}

/** Whether the image's own health check, as a container runtime runs it, finds the server well. */
function isHealthy(container: string, test: readonly string[], admin: string): boolean {
  assert.equal(test[0], 'CMD')
  try {
    buildah('run', '--network', 'host', '--env', `ADMIN_PORT=${new URL(admin).port}`, container, '--', ...test.slice(1))
    return true
  } catch {
    // Its exit code is the answer.
    return false
  }
}

async function main(): Promise<void> {
  makeBases()
  const config = build()
  console.log(`size: ${megabytes('statewire')} MB uncompressed, ${megabytes('runtime')} MB of them the base image`)
  assert.equal(config.User, `${UID}:${UID}`)
  assert.equal(config.StopSignal, 'SIGTERM')
  assert.equal(config.Cmd[0], 'node')
  assert.ok('/data' in config.Volumes)
  assert.ok(config.Env.includes('HOST=0.0.0.0'))

  const container = buildah('from', 'localhost/statewire')
  const mounted = buildah('mount', container)
  assert.deepEqual(hasDevelopmentTools(mounted), [])
  console.log(
    `without development tools: ${readdirSync(join(mounted, 'app', 'node_modules')).length} folders of packages`,
  )

  const started = await startContainer(container, config.Cmd)
  try {
    await converse(container, config, started)
  } finally {
    if (started.child.exitCode === null) process.kill(started.pid, 'SIGKILL')
  }
}

type Started = Awaited<ReturnType<typeof startContainer>>

/** All that a running container has to show. */
async function converse(container: string, config: Config, { child, address, admin, pid }: Started): Promise<void> {
  const ended = once(child, 'exit')
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  assert.match(status, new RegExp(`^Uid:\\s+${UID}\\s`, 'm'))
  assert.match(status, /^Name:\s+node/m)
  console.log(`runs as uid ${UID}`)
  assert.ok(isHealthy(container, config.Healthcheck.Test, admin))
  console.log('the health check finds it well')
  const page = await fetch(address)
  assert.match(await page.text(), /<!doctype html>/i)
  console.log('serves the chat page')

  const chat = connect(`${address.replace('http', 'ws')}/chat/image`)
  const turn = chat.send('one two three four five six seven eight nine ten')
  let text = ''
  for await (const delta of turn) {
    if (text === '') process.kill(pid, 'SIGTERM')
    text += delta
  }
  assert.equal((await turn.ended).outcome, 'completed')
  chat.close()
  assert.match(text, /one two three .* ten/)
  assert.deepEqual(await ended, [0, null])
  console.log('SIGTERM in mid-answer: the answer was finished, then it ended with 0')
  assert.ok(!isHealthy(container, config.Healthcheck.Test, admin))
  console.log('the health check finds it gone')
}

try {
  await main()
} finally {
  // The containers' mounts are below it.
  buildah('rm', '--all')
  rmSync(scratch, { recursive: true, force: true })
}
