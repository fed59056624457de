import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, delimiter, dirname, join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Not part of a checkout, or made by it. */
const LEFT_OUT = new Set(['node_modules', '.git', 'dist', 'data', 'coverage'])

/** Runs a program to its end under this Node.js; answers its standard output. Rejects with what it said where it fails. */
export async function run(cwd: string, program: string, ...options: string[]): Promise<string> {
  const child = spawn(program, options, { cwd, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] })
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  if (code !== 0) throw new Error(`${program} ${options.join(' ')} ended with ${code}:\n${output}${errors}`)
  return output
}

/** What a program in a project of its own gets: nothing of the npm that runs the tests but its cache and registry. */
function environment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {}
  for (const [name, value] of Object.entries(process.env)) {
    // npx inside of `npx -c` would run the outer command again.
    if (!/^(npm_config_(call|package|yes)|npm_(lifecycle|package)_.*|NODE_OPTIONS|VITEST.*)$/i.test(name))
      env[name] = value
  }
  env.PATH = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`
  return env
}

/**
 * Packs the package as it stands, in a copy, so that its build disturbs no other test. Answers the tarball's path and
 * the files in it.
 */
export async function pack(directory: string): Promise<{ tarball: string; files: string[] }> {
  const copy = join(directory, 'checkout')
  cpSync(root, copy, {
    recursive: true,
    filter: (path) => !LEFT_OUT.has(relative(root, path)) && !basename(path).endsWith('.tgz'),
  })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  const output = await run(copy, 'npm', 'pack', '--json', '--loglevel=error')
  // What `prepare` prints comes first.
  const [packed] = JSON.parse(output.slice(output.indexOf('[\n')))
  return { tarball: join(copy, packed.filename), files: packed.files.map((file: { path: string }) => file.path) }
}

/** An empty project that has installed the tarball. */
export async function install(directory: string, tarball: string, ...others: string[]): Promise<string> {
  const project = join(directory, 'project')
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'team', private: true, type: 'module' }))
  await run(
    project,
    'npm',
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    tarball,
    ...others,
  )
  return project
}

/** A running program of the project. */
export interface Program {
  readonly child: ChildProcess
  /** Its standard output so far. */
  readonly lines: readonly string[]
  /** The first line of its standard output that fits; rejects where it ends before. */
  line(pattern: RegExp): Promise<RegExpExecArray>
  /** Ends it by SIGTERM; answers its exit code. */
  stop(): Promise<number | null>
}

export function start(project: string, env: Record<string, string>, program: string, ...options: string[]): Program {
  const child = spawn(program, options, {
    cwd: project,
    env: { ...environment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  const errors: string[] = []
  let look = () => {}
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    look()
  })
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line))
  const ended = once(child, 'close')
  return {
    child,
    lines,
    line(pattern) {
      return new Promise((resolve, reject) => {
        look = () => {
          for (const line of lines) {
            const match = pattern.exec(line)
            if (match !== null) resolve(match)
          }
        }
        look()
        ended.then(() => reject(new Error(`${program} ended: ${errors.join('\n')}`)), reject)
      })
    },
    async stop() {
      child.kill('SIGTERM')
      await ended
      if (errors.length > 0) throw new Error(`${program} said on standard error: ${errors.join('\n')}`)
      return child.exitCode
    },
  }
}
