import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

/**
 * Who may import whom, from the top down: a part may import itself, what its own row names, and any part of a row
 * below it. A part is a folder of `src/` (or `machines/`), or a file that lies beside them.
 */
const LAYERS: Readonly<Record<string, readonly string[]>>[] = [
  { 'src/main': ['src/help'], 'src/run-worker': [], 'src/index': [], 'src/docs': ['src/help'], 'src/help': [] },
  { 'src/server': [], 'src/supervisor': [], 'src/terminal': [] },
  {
    'src/chats-and-rooms': [],
    'src/server-parts': [],
    'src/upkeep': [],
    'src/logger': [],
    'src/signals': [],
    'src/told': [],
    'src/open-files': [],
    'src/prepare': [],
    'src/check-node': [],
  },
  // Of the transport, a connection knows the port: the socket, and what the request said.
  { 'src/transport': [], 'src/connection': ['src/transport'], 'src/metrics': [] },
  { 'src/turn': [], 'src/channel': ['src/turn'] },
  // The ports. Models and logs know time. Both adapters of Redis reach it in the same way, and a lease raises the log's fence.
  {
    'src/model': ['src/actor'],
    'src/log': ['src/actor'],
    'src/coordination': ['src/log', 'src/actor'],
    'src/actor': [],
  },
  {
    'src/config': ['src/config-variables'],
    'src/config-variables': ['src/config-schemas'],
    'src/config-schemas': [],
    'src/telemetry': [],
    'src/failing': [],
    machines: [],
  },
  // The client needs nothing of the server's but the words of the protocol.
  { 'src/client': [] },
  { 'src/protocol': [] },
]

/** Packages that one place alone may know. */
const PACKAGES: Readonly<Record<string, RegExp>> = {
  openai: /^src\/model\/openai-model[a-z-]*\.ts$/,
  'uWebSockets.js': /^src\/transport\/uws-(server|socket)\.ts$/,
  '@prometheus-io/client': /^src\/metrics\//,
  'node:sqlite': /^src\/log\/sqlite-[a-z-]+\.ts$/,
  xstate: /^(machines\/|src\/actor\/interpreted-host\.ts$)/,
}

/** Files over the limit of lines, each with the reason why it is no smaller. */
const LONG_FILES: Readonly<Record<string, string>> = {
  'machines/connection.machine.ts': 'a chart is one literal in one file, so that Stately Studio opens it',
}
const MAX_LINES = 250

const ROOT = fileURLToPath(new URL('../', import.meta.url))

interface Import {
  readonly from: string
  /** A file of the repository, or the name of a package. */
  readonly to: string
}

/** The pages in `src/web` are the browser's, with a bundler of their own. */
const FILES = ['src', 'machines']
  .flatMap((folder) => readdirSync(join(ROOT, folder), { recursive: true }).map((name) => join(folder, String(name))))
  .filter((file) => /\.(ts|mjs)$/.test(file) && !file.startsWith('src/web/'))
  .sort()
const IMPORTS = FILES.flatMap(importsOf)

/** Biome puts the module's name and its keyword into one line; type-only imports count like any other. */
function importsOf(file: string): Import[] {
  const found = readFileSync(join(ROOT, file), 'utf8').matchAll(
    /^(?:import|export|\})(?:[^'"\n]* from)? '([^']+)'|\bimport\('([^']+)'\)|new URL\('([^']+\.ts)', import\.meta\.url\)/gm,
  )
  return [...found].map(([, ...names]) => {
    const name = names.find((candidate) => candidate !== undefined) ?? ''
    return { from: file, to: name.startsWith('.') ? normalize(join(dirname(file), name)) : packageOf(name) }
  })
}

function packageOf(name: string): string {
  return name.startsWith('@') ? name.split('/').slice(0, 2).join('/') : (name.split('/')[0] ?? name)
}

const isFile = (target: string) => /^(src|machines|test|bench|otel)\//.test(target)

function partOf(file: string): string {
  if (file.startsWith('machines/')) return 'machines'
  return file
    .split('/')
    .slice(0, 2)
    .join('/')
    .replace(/\.(ts|mjs)$/, '')
}

function levelOf(part: string): number {
  return LAYERS.findIndex((layer) => part in layer)
}

function mayImport({ from, to }: Import): boolean {
  const [importer, imported] = [partOf(from), partOf(to)]
  return (
    importer === imported ||
    levelOf(imported) > levelOf(importer) ||
    LAYERS[levelOf(importer)]?.[importer]?.includes(imported) === true
  )
}

const inWords = ({ from, to }: Import) => `${from} imports ${to}`

test('imports are found at all', () => {
  expect(IMPORTS.map(inWords)).toEqual(
    expect.arrayContaining([
      'src/main.ts imports src/server.ts',
      'src/model/openai-model.ts imports openai',
      // A type alone, over several lines.
      'src/log/memory-log.ts imports src/log/channel-log.ts',
      'machines/turn.machine.ts imports src/protocol/errors.ts',
    ]),
  )
})

test('every file belongs to a part that has its place in the layers', () => {
  expect(FILES.filter((file) => levelOf(partOf(file)) === -1)).toEqual([])
})

test('imports point down only', () => {
  expect(
    IMPORTS.filter(({ to }) => isFile(to) && !to.startsWith('test/'))
      .filter((one) => !mayImport(one))
      .map(inWords),
  ).toEqual([])
})

describe('what must not be, whatever the layers say', () => {
  const RULES: Readonly<Record<string, (one: Import) => boolean>> = {
    'transport imports connection': ({ from, to }) =>
      partOf(from) === 'src/transport' && partOf(to) === 'src/connection',
    'connection imports more of transport than its port': ({ from, to }) =>
      partOf(from) === 'src/connection' &&
      partOf(to) === 'src/transport' &&
      !['src/transport/socket.ts', 'src/transport/upgrade.ts'].includes(to),
    'a machine imports more than xstate and the protocol': ({ from, to }) =>
      partOf(from) === 'machines' && to !== 'xstate' && !['src/protocol', 'machines'].includes(partOf(to)),
    'the client imports a package, or what is not the protocol': ({ from, to }) =>
      partOf(from) === 'src/client' && !['src/client', 'src/protocol'].includes(partOf(to)),
    'the terminal imports more than the client': ({ from, to }) =>
      partOf(from) === 'src/terminal' &&
      !['src/terminal', 'src/client'].includes(partOf(to)) &&
      !to.startsWith('node:'),
    'the source imports a test': ({ to }) => /^(test|bench)\//.test(to) || to === 'vitest',
    'something imports the server, or main': ({ from, to }) =>
      ['src/server', 'src/main'].includes(partOf(to)) &&
      !['src/main', 'src/run-worker', 'src/index'].includes(partOf(from)),
    'telemetry imports more than @opentelemetry/api': ({ from, to }) =>
      partOf(from) === 'src/telemetry' && to !== '@opentelemetry/api',
    ...Object.fromEntries(
      Object.entries(PACKAGES).map(([name, place]) => [
        `${name} is imported outside its place`,
        ({ from, to }: Import) => to === name && !place.test(from),
      ]),
    ),
  }
  test.each(Object.entries(RULES))('%s', (_, isBroken) => {
    expect(IMPORTS.filter(isBroken).map(inWords)).toEqual([])
  })
})

test('no file imports itself by way of others, types included', () => {
  const targets = new Map(FILES.map((file) => [file, IMPORTS.filter(({ from }) => from === file).map(({ to }) => to)]))
  const cycles: string[] = []
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '))
    if (path.includes(file) || done.has(file)) return
    for (const target of targets.get(file) ?? []) if (isFile(target)) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of FILES) visit(file, [])
  expect(cycles).toEqual([])
})

test('no file is over 250 lines, but for those with a reason', () => {
  const long = FILES.filter((file) => readFileSync(join(ROOT, file), 'utf8').trimEnd().split('\n').length > MAX_LINES)
  expect(long).toEqual(Object.keys(LONG_FILES))
})
