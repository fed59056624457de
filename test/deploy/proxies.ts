import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/redis.ts'
import { temporaryDirectory } from '../support/server.ts'

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url))
/** Debian's proxies stand where an ordinary user's PATH does not look. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`

/** A proxy of the configuration that we ship, in front of nodes on this machine. */
export interface RunningProxy {
  readonly port: number
  readonly process: ChildProcess
}

/** What is written otherwise than shipped: a pattern of a line or a part of it, and what stands there in the test. */
export type Changes = readonly (readonly [shipped: RegExp, inTest: string])[]

/** Starts Debian's nginx with `deploy/nginx`, on a port of its own, with TLS or without; ended when the test has finished. */
export async function startNginx(
  nodePorts: readonly number[],
  { tls = false, changes = [] }: { tls?: boolean; changes?: Changes } = {},
): Promise<RunningProxy & { readonly plainPort: number }> {
  const folder = temporaryDirectory()
  const [port, plainPort] = [await freePort(), await freePort()]
  cpSync(join(DEPLOY, 'nginx'), folder, { recursive: true })
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/t;`)
  const all: Changes = [
    [/^pid .*$/m, `pid ${folder}/pid;`],
    [/^http \{$/m, `http {\n${temporary.join('\n')}`],
    [/server 172\.28\.5\.11:8000/, `server 127.0.0.1:${nodePorts[0]}`],
    [/server 172\.28\.5\.12:8000/, `server 127.0.0.1:${nodePorts[1] ?? nodePorts[0]}`],
    [/listen 8080;/, `listen 127.0.0.1:${tls ? plainPort : port};`],
    [/listen 8443 ssl;/, `listen 127.0.0.1:${port} ssl;`],
    [/\/etc\/nginx\/tls\//g, `${folder}/`],
    ...(tls ? ([[/^ {2}include http\.conf;$/m, '  include https.conf;']] as const) : []),
    ...changes,
  ]
  rewrite(folder, all)
  if (tls) makeCertificate(folder)
  const child = start('nginx', ['-c', join(folder, 'nginx.conf'), '-g', 'daemon off;'])
  await isUp(child, port)
  return { port, plainPort, process: child }
}

/** Starts Debian's HAProxy with `deploy/haproxy.cfg`, in front of nodes with an admin port each. */
export async function startHaproxy(
  nodes: readonly { readonly port: number; readonly adminPort: number }[],
): Promise<RunningProxy> {
  const folder = temporaryDirectory()
  const port = await freePort()
  cpSync(join(DEPLOY, 'haproxy.cfg'), join(folder, 'haproxy.cfg'))
  rewrite(folder, [
    [/bind :8080/, `bind 127.0.0.1:${port}`],
    ...nodes.map((node, n): Changes[number] => [
      new RegExp(`172\\.28\\.5\\.1${n + 1}:8000 check port 8001`),
      `127.0.0.1:${node.port} check port ${node.adminPort}`,
    ]),
  ])
  const child = start('haproxy', ['-db', '-f', join(folder, 'haproxy.cfg')])
  await isUp(child, port)
  return { port, process: child }
}

/** A certificate for 127.0.0.1, signed by itself. */
function makeCertificate(folder: string): void {
  const files = ['-keyout', join(folder, 'privkey.pem'), '-out', join(folder, 'fullchain.pem')]
  const subject = ['-subj', '/CN=statewire', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2', '-nodes']
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
  execFileSync('openssl', ['req', '-x509', ...key, ...files, ...subject], { stdio: 'ignore' })
}

/** Applies each change to the files of a folder; one that fits nowhere is a mistake of the test. */
function rewrite(folder: string, changes: Changes): void {
  const texts = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]))
  for (const [shipped, inTest] of changes) {
    const fits = [...texts].filter(([, text]) => text.search(shipped) >= 0)
    if (fits.length === 0) throw new Error(`nothing in the shipped configuration is like ${shipped}`)
    for (const [name, text] of fits) texts.set(name, text.replace(shipped, inTest))
  }
  for (const [name, text] of texts) writeFileSync(join(folder, name), text)
}

function start(program: string, args: readonly string[]): ChildProcess {
  const child = spawn(program, args, { env: { ...process.env, PATH }, stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = once(child, 'exit')
  onTestFinished(async () => {
    child.kill('SIGTERM')
    await ended
  })
  return child
}

async function isUp(child: ChildProcess, port: number): Promise<void> {
  let told = ''
  child.stderr?.on('data', (data) => {
    told += data
  })
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended at its start:\n${told}`)
    // Any answer will do, a refused plain request at a TLS port, too.
    return fetch(`http://127.0.0.1:${port}/`, { redirect: 'manual' }).then(
      () => true,
      () => false,
    )
  })
}
