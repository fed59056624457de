import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { openSqliteLog } from '../../../src/log/sqlite-log.ts'
import type { Entry } from '../../../src/protocol/entry.ts'
import { ended, framesOf, say } from '../../support/chat-server.ts'
import { type Client, connect, textsOf } from '../../support/client.ts'
import { isLong } from '../../support/faults/fault-run.ts'
import { type ServerProcess, spawnServer, temporaryDirectory } from '../../support/server.ts'
import { startUpstream, type Upstream } from '../../support/upstream.ts'
import { createWitness, watch } from '../../support/witness.ts'

const KILLS = isLong ? 40 : 4
const MOST_TOKENS = 40
const KEY = 'ai-chat/one'

interface Machine {
  readonly upstream: Upstream
  readonly dataDir: string
  /** Starts the server, again and again on the same directory. */
  start(env?: Record<string, string>): Promise<ServerProcess>
  join(server: ServerProcess, query?: string): Promise<Client>
}

async function createMachine(): Promise<Machine> {
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const dataDir = temporaryDirectory()
  return {
    upstream,
    dataDir,
    start: (env = {}) => spawnServer({ DATA_DIR: dataDir, OPENAI_BASE_URL: upstream.baseUrl, ...env }),
    join: (server, query = '') => connect(`${server.url}/${KEY}${query}`),
  }
}

/** The log as it stands on the disk; no server may be running. */
async function entriesOn(dataDir: string): Promise<Entry[]> {
  const log = await openSqliteLog({ dataDir })
  const { epoch = '' } = await log.head(KEY)
  const page = await log.read(KEY, { epoch, offset: 0 }, { records: 100_000, bytes: 1e9 })
  await log.close()
  return page.honoured ? page.records.map(({ entry }) => entry) : []
}

test(`C14 G2 ${KILLS} times kill -9 in mid-stream: the shown text unchanged, then interrupted; regenerate works`, {
  timeout: 300_000,
}, async () => {
  const machine = await createMachine()
  const seen = createWitness()
  let server = await machine.start()
  const shownTokens: number[] = []
  for (let kill = 0; kill < KILLS; kill++) {
    const client = await machine.join(server, seen.query)
    const reads = watch(client, seen)
    const answer = machine.upstream.hold()
    const turn = await say(client, `question ${kill}`)
    await answer.requested
    const tokens = 1 + Math.floor(Math.random() * MOST_TOKENS)
    let said = ''
    let isKilled = false
    const saying = (async () => {
      for (let token = 0; !isKilled; token++) {
        const text = `token-${token} 🙂 `
        said += text
        answer.say(text)
        if (token % 3 === 0) await sleep(1)
      }
    })()
    await reads.until(() => (seen.turns.get(turn)?.text.split('🙂').length ?? 0) > tokens)
    await server.kill('SIGKILL')
    isKilled = true
    await Promise.all([saying, client.closed])
    await reads.until(() => reads.taken === client.frames.length)
    const shown = seen.turns.get(turn)?.text ?? ''
    expect(said.startsWith(shown)).toBe(true)
    shownTokens.push(shown.split('🙂').length - 1)

    server = await machine.start()
    const returned = await machine.join(server, seen.query)
    const readsOn = watch(returned, seen)
    await readsOn.until(() => seen.turns.get(turn)?.outcome !== undefined)
    expect(seen.turns.get(turn)?.outcome).toBe('interrupted')
    const end = framesOf(returned, 'ai_stream_end').find(({ turn_id }) => turn_id === turn)
    expect(end).toMatchObject({ finish_reason: null, error: { code: 'interrupted' } })
    // What had been saved and not shown yet may follow; nothing that was shown changes, and nothing else is added.
    const whole = seen.turns.get(turn)?.text ?? ''
    expect(whole.startsWith(shown)).toBe(true)
    expect(said.startsWith(whole)).toBe(true)
    expect(end?.metadata).toEqual({ total_words: whole.split(/\s+/u).filter((word) => word !== '').length })
    const joiner = createWitness()
    await watch(await machine.join(server), joiner).until(() => joiner.turns.has(turn))
    expect(joiner.turns.get(turn)).toMatchObject({ text: whole, outcome: 'interrupted' })

    returned.send({ type: 'regenerate', id: `again-${kill}` })
    const { turn_id } = await returned.next('typing', ({ regenerates }) => regenerates === turn)
    await ended(returned, String(turn_id))
    expect(textsOf(returned.frames).get(String(turn_id))).toBe(`question ${kill}`)
    await readsOn.until(() => seen.turns.get(String(turn_id))?.outcome === 'completed')
    returned.cut()
  }
  expect(machine.upstream.requests).toHaveLength(2 * KILLS)
  expect(seen.counts.resumed).toBe(seen.counts.welcomes - 1)
  await server.kill('SIGKILL')
  const ends = (await entriesOn(machine.dataDir)).filter(({ type }) => type === 'ai_stream_end')
  expect(ends).toHaveLength(2 * KILLS)
  console.log(
    `kills: ${KILLS}, tokens shown before each: ${shownTokens.join(' ')}, connections: ${seen.counts.welcomes}`,
  )
})

test('C14 C15 a turn without any chunk is run again after a kill, and only once', async () => {
  const machine = await createMachine()
  const first = await machine.start()
  const client = await machine.join(first)
  const answer = machine.upstream.hold()
  const turn = await say(client, 'hello', { id: 'a' })
  await client.next('typing')
  await answer.requested
  await first.kill('SIGKILL')

  // Nobody is there: it is taken up by the start itself.
  const again = machine.upstream.hold()
  const second = await machine.start()
  await again.requested
  const returned = await machine.join(second, client.resumeQuery)
  again.say('here it is')
  again.finish()
  expect(await ended(returned, turn)).toMatchObject({ outcome: 'completed' })
  expect(textsOf(returned.frames).get(turn)).toBe('here it is')
  expect(framesOf(returned, 'typing')).toEqual([])
  expect(machine.upstream.requests).toHaveLength(2)
  expect(machine.upstream.requests[1]?.body.messages).toEqual(machine.upstream.requests[0]?.body.messages)

  // And C7 after it all.
  expect(await say(returned, 'hello', { id: 'a' })).toBe(turn)
  await second.kill('SIGKILL')
  const attempts = (await entriesOn(machine.dataDir)).filter(({ type }) => type === 'attempt')
  expect(attempts).toMatchObject([{ run: 1 }, { run: 2 }])
})

test('C14 a turn that kills the server twice is not run a third time', async () => {
  const machine = await createMachine()
  const answers = [machine.upstream.hold(), machine.upstream.hold()]
  const first = await machine.start()
  const client = await machine.join(first)
  const turn = await say(client, 'poison')
  const waiting = await say(client, 'what waits behind it')
  await answers[0]?.requested
  await first.kill('SIGKILL')
  const second = await machine.start()
  await answers[1]?.requested
  await second.kill('SIGKILL')

  const third = await machine.start()
  const returned = await machine.join(third, client.resumeQuery)
  expect(await ended(returned, turn)).toMatchObject({ outcome: 'interrupted', error: { code: 'interrupted' } })
  expect(await ended(returned, waiting)).toMatchObject({ outcome: 'completed' })
  expect(machine.upstream.requests.map(({ body }) => body.messages.at(-1)?.content)).toEqual([
    'poison',
    'poison',
    'what waits behind it',
  ])
  await third.kill('SIGKILL')
  const attempts = (await entriesOn(machine.dataDir)).filter(({ type }) => type === 'attempt')
  expect(machine.upstream.requests.length).toBeLessThanOrEqual(attempts.length)
})

test('C6 C14 a stop that was stored before the kill holds after it', async () => {
  const machine = await createMachine()
  const first = await machine.start()
  const client = await machine.join(first)
  const answer = machine.upstream.hold()
  const running = await say(client, 'one')
  const waiting = await say(client, 'two')
  await answer.requested
  client.send({ type: 'stop', turn_id: waiting })
  await ended(client, waiting)
  await first.kill('SIGKILL')
  const second = await machine.start()
  const returned = await machine.join(second, client.resumeQuery)
  expect(await ended(returned, running)).toMatchObject({ outcome: 'completed' })
  await second.kill('SIGKILL')
  const ends = (await entriesOn(machine.dataDir)).filter(({ type }) => type === 'ai_stream_end')
  expect(ends).toMatchObject([
    { turn_id: waiting, outcome: 'stopped' },
    { turn_id: running, outcome: 'completed' },
  ])
})

test('L8 C14 SIGTERM in mid-stream: interrupted is saved and shown, 1001, and a resume is exact', async () => {
  const machine = await createMachine()
  const seen = createWitness()
  const first = await machine.start({ DRAIN_MS: '0' })
  const client = await machine.join(first)
  const reads = watch(client, seen)
  const answer = machine.upstream.hold()
  const turn = await say(client, 'hello')
  const waiting = await say(client, 'behind it')
  const request = await answer.requested
  answer.say('some words ')
  await reads.until(() => seen.turns.get(turn)?.text === 'some words ')
  first.process.kill('SIGTERM')
  expect(await ended(client, turn)).toMatchObject({ outcome: 'interrupted', error: { code: 'interrupted' } })
  expect(await client.closed).toMatchObject({ code: 1001 })
  expect(await request.over).toBe('aborted')
  await first.kill('SIGTERM')

  const second = await machine.start()
  const returned = await machine.join(second, seen.query)
  const readsOn = watch(returned, seen)
  await readsOn.until(() => seen.turns.get(waiting)?.outcome === 'completed')
  expect(seen.turns.get(turn)).toEqual({ text: 'some words ', reasoning: '', outcome: 'interrupted' })
  expect(seen.turns.get(waiting)?.text).toBe('behind it')
  expect(seen.counts).toMatchObject({ welcomes: 2, resumed: 1 })
})
