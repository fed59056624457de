import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { LogError } from '../../src/log/channel-log.ts'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { openSqliteLog } from '../../src/log/sqlite-log.ts'
import { ERRORS } from '../../src/protocol/errors.ts'
import { ask, ended, framesOf, say, settled, startChatServer } from '../support/chat-server.ts'
import { connect, textsOf } from '../support/client.ts'
import { spawnServer, temporaryDirectory } from '../support/server.ts'
import { startUpstream } from '../support/upstream.ts'

const DISK_MB = 8

/** Whether these tests may mount a small disk: root may, in most places. */
function mayMount(): boolean {
  const directory = join(tmpdir(), `statewire-storage-${process.pid}`)
  mkdirSync(directory)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory], { stdio: 'ignore' })
    execFileSync('umount', [directory])
    return true
  } catch {
    console.warn('no disk can be mounted here: a full disk is tested by a log that refuses alone')
    return false
  } finally {
    rmSync(directory, { recursive: true })
  }
}

async function fill(path: string): Promise<void> {
  const file = await open(path, 'w')
  try {
    for (;;) await file.write(Buffer.alloc(4096))
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
  } finally {
    await file.close()
  }
}

test.runIf(mayMount())(
  'C1 C3 a full disk: the turn in hand fails and says so, nothing unsaved is shown, other things go on, it recovers',
  async () => {
    const dataDir = temporaryDirectory()
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m`, 'tmpfs', dataDir])
    onTestFinished(() => void execFileSync('umount', ['-l', dataDir]))
    const upstream = await startUpstream()
    onTestFinished(() => upstream.close())
    const start = () => spawnServer({ DATA_DIR: dataDir, OPENAI_BASE_URL: upstream.baseUrl })
    const server = await start()
    const url = `${server.url}/ai-chat/one`
    const [client, other] = [await connect(url), await connect(url)]
    await ask(client, 'saved')
    const answer = upstream.hold()
    const turn = await say(client, 'in hand')
    const request = await answer.requested
    answer.say('shown ')
    await client.next('ai_stream_chunk', ({ turn_id }) => turn_id === turn)

    await fill(join(dataDir, 'filler'))
    answer.say(`never shown ${'x'.repeat(100_000)}`)
    const told = { type: 'error', code: 'stalled', turn_id: turn, content: ERRORS.stalled.content }
    expect(await client.next('error')).toEqual(told)
    expect(await other.next('error')).toEqual(told)
    expect(await request.over).toBe('aborted')
    client.send({ type: 'user_message', content: 'x'.repeat(60_000), id: 'refused' })
    expect(await client.next('error')).toMatchObject({ code: 'storage', id: 'refused' })
    // What needs no disk goes on.
    const joiner = await connect(url)
    expect((await joiner.next('history')).messages).toMatchObject([{ content: 'saved' }, {}, { content: 'in hand' }])
    const echo = await connect(`${server.url}/ws`)
    echo.send({ type: 'message', content: 'hello' })
    expect(await echo.next('echo')).toMatchObject({ content: 'hello' })
    expect((await fetch(`${server.adminUrl}/healthz`)).status).toBe(200)
    expect((await fetch(`${server.adminUrl}/readyz`)).status).toBe(503)
    expect(framesOf(client, 'user_message')).toHaveLength(2)

    rmSync(join(dataDir, 'filler'))
    const end = await ended(client, turn)
    expect(end).toMatchObject({ outcome: 'failed', error: { code: 'storage' }, metadata: { total_words: 1 } })
    await ended(other, turn)
    expect((await fetch(`${server.adminUrl}/readyz`)).status).toBe(200)
    const again = await ask(client, 'now it fits', { id: 'refused' })
    await ended(other, again)
    for (const one of [client, other]) expect(textsOf(one.frames).get(turn)).toBe('shown ')
    await server.kill('SIGKILL')

    const restarted = await start()
    const returned = await connect(`${restarted.url}/ai-chat/one${client.resumeQuery}`)
    expect(await returned.next('welcome')).toMatchObject({ resumed: true })
    await settled(returned)
    expect(returned.frames.map(({ type }) => type)).toEqual(['welcome', 'pong'])
  },
)

test('C1 C7 a message that cannot be saved is shown to nobody, and may be sent again under its id', async () => {
  const inner = createMemoryLog()
  let isFull = false
  const log = {
    ...inner,
    async append(...args: Parameters<typeof inner.append>) {
      if (isFull) throw new LogError('failed', 'the disk is full')
      return inner.append(...args)
    },
  }
  const chat = await startChatServer({}, { log })
  const [client, other] = [await chat.join(), await chat.join()]
  isFull = true
  const frames = [
    { type: 'user_message', content: 'hello', id: 'a' },
    { type: 'conversation_start', id: 'b' },
  ]
  for (const frame of frames) {
    client.send(frame)
    const error = await client.next('error')
    expect(error).toEqual({ type: 'error', code: 'storage', content: ERRORS.storage.content, id: frame.id })
  }
  await settled(other)
  expect(other.frames.map(({ type }) => type)).toEqual(['welcome', 'history', 'pong'])
  expect(chat.upstream.requests).toEqual([])
  isFull = false
  await ask(client, 'hello', { id: 'a' })
})

test('C6 C3 a turn whose end cannot be saved is told once, and ends when it can', async () => {
  const inner = createMemoryLog()
  let isFull = false
  const log = {
    ...inner,
    async append(...args: Parameters<typeof inner.append>) {
      if (isFull) throw new LogError('failed', 'the disk is full')
      return inner.append(...args)
    },
  }
  const chat = await startChatServer({}, { log })
  const client = await chat.join()
  const answer = chat.upstream.hold()
  const turn = await say(client, 'hello')
  const request = await answer.requested
  answer.say('so far')
  await client.next('ai_stream_chunk')
  isFull = true
  client.send({ type: 'stop' })
  expect(await request.over).toBe('aborted')
  expect(await client.next('error')).toMatchObject({ code: 'stalled', turn_id: turn })
  expect(framesOf(client, 'ai_stream_end')).toEqual([])
  isFull = false
  expect(await ended(client, turn)).toMatchObject({ outcome: 'stopped' })
  await ask(client, 'and on')
  expect(framesOf(client, 'error')).toHaveLength(1)
})

test('L4 a damaged record closes the connections of its channel with 1011, and no other', async () => {
  const dataDir = temporaryDirectory()
  const first = await startChatServer({}, { log: await openSqliteLog({ dataDir }) })
  for (const name of ['good', 'bad']) await ask(await first.join(`/ai-chat/${name}`), `a message to ${name}`)
  await first.server.stop()
  const database = new DatabaseSync(join(dataDir, 'statewire.db'))
  const { changes } = database
    .prepare(
      `UPDATE entries SET text = substr(text, 1, 20) WHERE offset = 2 AND channel = (SELECT id FROM channels WHERE key = 'ai-chat/bad')`,
    )
    .run()
  expect(changes).toBe(1)
  database.close()

  const second = await startChatServer({}, { log: await openSqliteLog({ dataDir }) })
  for (let attempt = 0; attempt < 2; attempt++) {
    const bad = await second.join('/ai-chat/bad')
    expect(await bad.closed).toMatchObject({ code: 1011 })
    expect(bad.frames).toEqual([])
  }
  const good = await second.join('/ai-chat/good')
  expect((await good.next('history')).messages).toHaveLength(2)
  await ask(good, 'and on')
})
