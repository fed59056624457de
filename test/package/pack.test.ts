import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { connect, textsOf } from '../support/client.ts'
import { install, pack, root, run, start } from './new-project.ts'

const PACKAGE = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const directory = mkdtempSync(join(tmpdir(), 'statewire-package-'))
let files: string[]
let project: string

beforeAll(async () => {
  const packed = await pack(directory)
  files = packed.files
  project = await install(directory, packed.tarball, `@types/node@${PACKAGE.devDependencies['@types/node']}`)
}, 120_000)

afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** The example of README.md's chapter, as it stands there. */
function libraryExample(): string {
  const example = /^```ts\n(.*?)^```$/ms.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1]
  if (example === undefined) throw new Error('README.md has no example of the library')
  return example
}

test('the tarball has what runs, its types and its documents, and nothing else', () => {
  const others = files.filter(
    (file) => !/^dist\/(src|machines)\/.*\.(js|d\.ts)$/.test(file) && !file.startsWith('dist/web/assets/'),
  )
  expect(others.sort()).toEqual(['LICENSE', 'README.md', 'dist/web/index.html', 'package.json', 'src/protocol/SPEC.md'])
  for (const needed of [
    'dist/src/main.js',
    'dist/src/index.js',
    'dist/src/index.d.ts',
    'dist/src/log/sqlite-worker.js',
    'dist/src/client/index.js',
    'dist/src/client/index.d.ts',
  ]) {
    expect(files).toContain(needed)
  }
  expect(files.filter((file) => /^dist\/src\/(docs|web)\//.test(file))).toEqual([])
})

test("the README's example of the library passes TypeScript's strictest checks, those of our types included", async () => {
  writeFileSync(join(project, 'chat.ts'), libraryExample())
  const compilerOptions = {
    target: 'es2024',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    types: ['node'],
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['chat.ts'] }))
  expect(await run(project, process.execPath, join(root, 'node_modules/typescript/bin/tsc'))).toBe('')
})

test("the README's example of the library answers with its model, signs in, and keeps its log", async () => {
  writeFileSync(join(project, 'chat.ts'), libraryExample())
  const env = { PORT: '0', ADMIN_PORT: '0', NODE_NO_WARNINGS: '1' }
  const server = start(project, env, process.execPath, 'chat.ts')
  onTestFinished(() => void server.child.kill('SIGKILL'))
  const [, port] = await server.line(/^listening on (\d+)$/)
  const url = `ws://127.0.0.1:${port}`

  const client = await connect(`${url}/ai-chat/ada.first?token=token-of-ada`)
  client.send({ type: 'user_message', content: 'hello out there' })
  const { turn_id } = await client.next('ai_stream_end', ({ outcome }) => outcome === 'completed')
  expect(textsOf(client.frames).get(String(turn_id))).toBe('HELLO OUT THERE ')
  expect(server.lines).toContain('user_message in ai-chat/ada.first')

  const strangers = [`${url}/ai-chat/ada.first`, `${url}/ai-chat/eve.first?token=token-of-ada`]
  const closes = await Promise.all(strangers.map(async (stranger) => (await connect(stranger)).closed))
  expect(closes.map(({ code }) => code)).toEqual([4401, 1008])

  expect(await server.stop()).toBe(0)
  expect(await client.closed).toMatchObject({ code: 1001 })
})

/** The example of README.md's chapter on the client, with another address. */
function clientExample(url: string): string {
  const example = /^```js\n(.*?)^```$/ms.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1]
  if (example === undefined) throw new Error('README.md has no example of the client')
  return example.replace('ws://127.0.0.1:8000', url)
}

test("the README's example of the client runs from the package, passes the strictest checks, and `npx statewire chat` talks", async () => {
  const bin = join(project, 'node_modules/.bin/statewire')
  const env = { PORT: '0', ADMIN_PORT: '0', STORE: 'memory', SIMULATED_DELAY_MS: '20' }
  const server = start(project, env, bin)
  onTestFinished(() => void server.child.kill('SIGKILL'))
  const [, address] = await server.line(/"address":"(http:[^"]+)"/)
  const url = address?.replace('http', 'ws') ?? ''
  for (const name of ['client.mjs', 'client.ts']) writeFileSync(join(project, name), clientExample(url))
  const compilerOptions = {
    target: 'es2024',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    types: ['node'],
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['client.ts'] }))
  expect(await run(project, process.execPath, join(root, 'node_modules/typescript/bin/tsc'))).toBe('')
  expect(await run(project, process.execPath, 'client.mjs')).toMatch(
    /^你说的是: Hello out there。让我想想\.\.\. \ncompleted, 13 tokens\n你说的是: \n1 turn, the last answer stopped\n$/,
  )
  const said = await run(project, 'sh', '-c', `echo hi | npx statewire chat ${url}/chat/two`)
  expect(said).toBe('你说的是: hi。让我想想... \n')
  expect(await server.stop()).toBe(0)
})

test('the command of the package serves pages and chats from dist, with its log in DATA_DIR', async () => {
  const bin = join(project, 'node_modules/.bin/statewire')
  const server = start(project, { PORT: '0', ADMIN_PORT: '0', SIMULATED_DELAY_MS: '0' }, bin)
  onTestFinished(() => void server.child.kill('SIGKILL'))
  const [, address] = await server.line(/"address":"(http:[^"]+)"/)
  expect(server.lines.join('\n')).toContain('sqlite in ./data')

  const client = await connect(`${address?.replace('http', 'ws')}/ai-chat/first`)
  client.send({ type: 'user_message', content: 'hello' })
  expect(await client.next('ai_stream_end')).toMatchObject({ outcome: 'completed' })
  const page = await fetch(`${address}/`)
  expect(await page.text()).toMatch(/<script[^>]+src="\.\/assets\//)
  expect(await server.stop()).toBe(0)
})

test('`npx statewire` tells its version, and takes its settings from the environment', async () => {
  expect(await run(project, 'npx', 'statewire', '--version')).toBe(`statewire ${PACKAGE.version}\n`)
  expect(await run(project, 'npx', 'statewire', '--help')).toContain('DATA_DIR')
})
