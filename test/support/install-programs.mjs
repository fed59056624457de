// Run by npm's `pretest`: the system programs that the tests drive. On Debian as root it installs the missing ones;
// elsewhere it ends with the line that does. Plain JavaScript, so that an old Node.js can run it.
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** By Debian package: whether what the tests need of it is there. */
const PACKAGES = {
  chromium: () => isExecutable(process.env.CHROMIUM ?? '/usr/bin/chromium'),
  'python3-websockets': () => spawnSync('/usr/bin/python3', ['-c', 'import websockets']).status === 0,
  'redis-server': () => isOnPath('redis-server'),
  'redis-sentinel': () => isOnPath('redis-sentinel'),
  'nginx-light': () => isOnPath('nginx'),
  haproxy: () => isOnPath('haproxy'),
  'docker-compose': () => isOnPath('docker-compose'),
  openssl: () => isOnPath('openssl'),
  systemd: () => isOnPath('systemd-analyze'),
  prometheus: () => isOnPath('promtool'),
  iproute2: () => isOnPath('ip'),
  'util-linux': () => isOnPath('prlimit'),
  mount: () => isOnPath('mount') && isOnPath('umount'),
}

/** Debian asks this script before it starts a service; 101 says no. */
const POLICY = '/usr/sbin/policy-rc.d'
const REFUSE_ALL = '#!/bin/sh\nexit 101\n'

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    // Missing is an answer here.
    return false
  }
}

function isOnPath(program) {
  // An ordinary user's PATH lacks the system directories, in which `ip` may stand.
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return directories.some((directory) => isExecutable(join(directory, program)))
}

function findMissing() {
  return Object.keys(PACKAGES).filter((name) => !PACKAGES[name]())
}

/** Runs apt-get to its end; ended by a signal, it takes apt-get with it. */
function aptGet(...options) {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    const child = spawn('apt-get', ['-q', '-y', ...options], { env, stdio: ['ignore', 'inherit', 'inherit'] })
    const end = () => child.kill('SIGTERM')
    process.once('SIGTERM', end)
    process.once('SIGINT', end)
    child.once('error', reject)
    child.once('close', (code) => {
      process.off('SIGTERM', end)
      process.off('SIGINT', end)
      if (code === 0) resolve()
      else reject(new Error(`apt-get ${options.join(' ')} ended with ${code}`))
    })
  })
}

async function install(packages) {
  console.log(`installing what the tests drive: ${packages.join(', ')}`)
  const isPolicyOurs = !existsSync(POLICY)
  if (isPolicyOurs) writeFileSync(POLICY, REFUSE_ALL, { mode: 0o755 })
  try {
    await aptGet('update')
    await aptGet('install', '--no-install-recommends', ...packages)
  } finally {
    if (isPolicyOurs) rmSync(POLICY, { force: true })
  }
}

const missing = findMissing()
if (missing.length > 0) {
  const line = `apt-get update && apt-get install -y --no-install-recommends ${missing.join(' ')}`
  if (existsSync('/etc/debian_version') && process.getuid?.() === 0) {
    await install(missing).catch((error) => console.error(error.message))
  }
  const still = findMissing()
  if (still.length > 0) {
    console.error(`The tests need ${still.join(', ')}. On Debian, as root: ${line}`)
    process.exit(1)
  }
}
