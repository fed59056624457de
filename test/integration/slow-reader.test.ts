import { expect, onTestFinished, test } from 'vitest'
import { createMemoryLog } from '../../src/log/memory-log.ts'
import { createTestClock, ended, framesOf, say, settled, startChatServer } from '../support/chat-server.ts'
import { type Client, connect } from '../support/client.ts'
import { spawnInSmallNetwork } from '../support/network.ts'
import { startProxy } from '../support/proxy.ts'
import { type Env, startServer, type TestServer } from '../support/server.ts'
import { flood as flooding } from '../support/upstream-scripts.ts'
import { createWitness, type Witness, watch } from '../support/witness.ts'

/** On loopback the kernel takes 4 MB before a reader who does not read shows. */
const LOOPBACK_BYTES = 5_000_000
const MESSAGE_BYTES = 40_000
const KEY = 'chat/one'
const LIMIT_MS = 30_000
const LIMIT_PER_READER_BYTES = 256 * 1024

const ENV: Env = {
  CONGESTED_LIMIT_MS: String(LIMIT_MS),
  HEARTBEAT_INTERVAL_MS: '3600000',
  CONTEXT_MESSAGES: '1',
  HISTORY_MESSAGES: '2000',
}

/** Says so much that a reader who does not read is parked; answers the last turn. */
async function flood(client: Client, bytes = LOOPBACK_BYTES): Promise<string> {
  let turn = ''
  for (let said = 0; said < bytes; said += 2 * MESSAGE_BYTES) {
    turn = await say(client, `${said} ${'x'.repeat(MESSAGE_BYTES)}`)
    await ended(client, turn)
  }
  return turn
}

async function startRoomy(env: Env = {}) {
  const { clock, letRun } = createTestClock()
  const log = createMemoryLog()
  const server = await startServer({ ...ENV, ...env }, { clock, log })
  onTestFinished(letRun)
  return { server, clock, log, url: `${server.url}/${KEY}` }
}

/** How many frames the server sends for one turn: as many to each who is not parked. */
async function framesOfOneTurn(server: TestServer, client: Client): Promise<number> {
  await settled(client)
  const before = server.telemetry.framesSent
  const turn = await say(client, 'short')
  await ended(client, turn)
  return server.telemetry.framesSent - before
}

async function isAtHead(witness: Witness, reads: ReturnType<typeof watch>, log: ReturnType<typeof createMemoryLog>) {
  const { offset } = await log.head(KEY)
  await reads.until(() => witness.offset >= offset)
}

test('G10 a reader who does not read is parked, delays nobody, and catches up exactly when he reads again', async () => {
  const { server, log, url } = await startRoomy()
  const [reference, seen] = [createWitness(), createWitness()]
  const fast = await connect(url)
  const follows = watch(fast, reference)
  const slow = await connect(url)
  const reads = watch(slow, seen)
  const both = await framesOfOneTurn(server, fast)
  slow.ws.pause()
  await flood(fast)
  const alone = await framesOfOneTurn(server, fast)
  expect(alone * 2).toBe(both)
  await isAtHead(reference, follows, log)
  expect(seen.offset).toBeLessThan(reference.offset)
  slow.ws.resume()
  await isAtHead(seen, reads, log)
  seen.compare(reference)
  expect([...seen.turns]).toEqual([...reference.turns])
  expect(seen.counts.welcomes).toBe(1)
  // He is live again.
  expect(await framesOfOneTurn(server, fast)).toBe(both)
})

test('G10 who joins and does not read his snapshot gets the rest of it, and then what came since', async () => {
  const { log, url } = await startRoomy()
  const [reference, seen] = [createWitness(), createWitness()]
  const fast = await connect(url)
  const follows = watch(fast, reference)
  await flood(fast, 2 * LOOPBACK_BYTES)
  const slow = await connect(url)
  slow.ws.pause()
  const reads = watch(slow, seen)
  await flood(fast, 1_000_000)
  slow.ws.resume()
  await isAtHead(seen, reads, log)
  await isAtHead(reference, follows, log)
  for (const [turn, { text, outcome }] of reference.turns) expect(seen.turns.get(turn)).toMatchObject({ text, outcome })
  expect(seen.counts.welcomes).toBe(1)
})

test('G10 without progress for CONGESTED_LIMIT_MS he is closed with 1013, and resumes where he was', async () => {
  const { clock, log, url } = await startRoomy()
  const [reference, seen] = [createWitness(), createWitness()]
  const fast = await connect(url)
  const follows = watch(fast, reference)
  const slow = await connect(url)
  const reads = watch(slow, seen)
  await settled(slow)
  slow.ws.pause()
  await flood(fast)
  clock.advance(LIMIT_MS - 1_000)
  await settled(fast)
  clock.advance(2_000)
  await flood(fast, 200_000)
  slow.ws.resume()
  expect(await slow.closed).toMatchObject({ code: 1013 })
  await reads.until(() => seen.offset > 0)
  const returned = await connect(url + seen.query)
  await isAtHead(seen, watch(returned, seen), log)
  await isAtHead(reference, follows, log)
  seen.compare(reference)
  expect([...seen.turns]).toEqual([...reference.turns])
  expect(seen.counts).toMatchObject({ welcomes: 2, resumed: 1 })
})

test('G10 he is not closed while he reads on in time', async () => {
  const { clock, log, url } = await startRoomy()
  const seen = createWitness()
  const fast = await connect(url)
  const slow = await connect(url)
  const reads = watch(slow, seen)
  for (let round = 0; round < 3; round++) {
    await settled(slow)
    slow.ws.pause()
    await flood(fast)
    clock.advance(LIMIT_MS - 1_000)
    slow.ws.resume()
    await isAtHead(seen, reads, log)
  }
  expect(seen.counts.welcomes).toBe(1)
})

test('G10 G2 a network that stands still and is cut: who comes back gets exactly what was missed', async () => {
  const { server, log, url } = await startRoomy()
  const proxy = await startProxy(server.url)
  const [reference, seen] = [createWitness(), createWitness()]
  const fast = await connect(url)
  const follows = watch(fast, reference)
  for (const isCut of [false, true]) {
    const behind = await connect(`${proxy.url}/${KEY}${seen.query}`)
    const reads = watch(behind, seen)
    await settled(behind)
    proxy.freeze()
    await flood(fast)
    expect(seen.offset).toBeLessThan((await log.head(KEY)).offset)
    if (isCut) {
      proxy.cutAll()
      await behind.closed
    }
    proxy.thaw()
    if (!isCut) await isAtHead(seen, reads, log)
    behind.cut()
  }
  const returned = await connect(url + seen.query)
  await isAtHead(seen, watch(returned, seen), log)
  await isAtHead(reference, follows, log)
  seen.compare(reference)
  expect([...seen.turns]).toEqual([...reference.turns])
  expect(seen.counts).toMatchObject({ welcomes: 3, resumed: 2 })
})

test('G10 a fold under a parked reader: he gets a fresh welcome, and nothing twice', async () => {
  const chat = await startChatServer({ MAX_ANSWER_BYTES: '16777216' })
  const [reference, seen] = [createWitness(), createWitness()]
  const fast = await chat.join()
  const follows = watch(fast, reference)
  const slow = await chat.join()
  const reads = watch(slow, seen)
  await settled(slow)
  slow.ws.pause()
  // One answer that is longer than all that may be buffered: he is parked within it.
  chat.upstream.next(flooding(Math.ceil((2 * LOOPBACK_BYTES) / 8_000), `${'y'.repeat(7_999)} `))
  const turn = await say(fast, 'at length, please')
  await ended(fast, turn)
  const { offset } = await chat.log.head('ai-chat/one')
  await follows.until(() => reference.offset >= offset)
  expect(await chat.log.fold(Date.now() + 60_000)).toBe(1)
  slow.ws.resume()
  await reads.until(() => seen.offset >= offset)
  expect(seen.turns.get(turn)?.text).toBe(reference.turns.get(turn)?.text)
  expect(seen.counts).toMatchObject({ welcomes: 2, resumed: 0 })
})

test('G10 G13 what a parked reader repeats is acknowledged when he has got there', async () => {
  const { log, url } = await startRoomy()
  const [reference, seen] = [createWitness(), createWitness()]
  const fast = await connect(url)
  const follows = watch(fast, reference)
  const slow = await connect(url)
  const reads = watch(slow, seen)
  await settled(slow)
  slow.ws.pause()
  await flood(fast)
  seen.sent('mine')
  const turn = await say(fast, 'the same', { id: 'mine' })
  await ended(fast, turn)
  slow.send({ type: 'user_message', content: 'the same', id: 'mine' })
  slow.send({ type: 'user_message', content: 'another', id: 'other' })
  await fast.next('user_message', ({ id }) => id === 'other')
  slow.ws.resume()
  await isAtHead(seen, reads, log)
  await isAtHead(reference, follows, log)
  await reads.until(() => framesOf(slow, 'user_message').filter(({ id }) => id === 'mine').length === 2)
  seen.compare(reference)
  expect([...seen.turns.keys()].sort()).toEqual([...reference.turns.keys()].sort())
})

test('G10 G9 a parked member of a room misses signals, no messages, and is told anew who is there', async () => {
  const { server } = await startRoomy()
  const url = `${server.url}/room/one`
  const [fast, slow] = [await connect(url), await connect(url)]
  await slow.next('presence')
  slow.ws.pause()
  const count = LOOPBACK_BYTES / MESSAGE_BYTES
  for (let at = 0; at < count; at++) {
    fast.send({ type: 'message', content: `${at} ${'x'.repeat(MESSAGE_BYTES)}` })
    await fast.next('message')
  }
  fast.send({ type: 'typing' })
  const third = await connect(url)
  await third.next('presence')
  slow.ws.resume()
  const { members } = await slow.next('presence')
  expect(members).toHaveLength(3)
  const messages = framesOf(slow, 'message').map(({ content }) => Number.parseInt(String(content), 10))
  expect(messages).toEqual(Array.from({ length: count }, (_, at) => at))
  expect(framesOf(slow, 'user_joined')).toEqual([])
  expect(framesOf(slow, 'typing')).toEqual([])
})

test('G10 a parked reader costs the process less than 256 KB', { timeout: 60_000 }, async () => {
  const server = await spawnInSmallNetwork({ ...ENV, SIMULATED_DELAY_MS: '0', RATE_LIMIT: '1000', LOG_LEVEL: 'info' })
  const count = server.isSmall ? 200 : 40
  const bytes = server.isSmall ? 2_000_000 : 2 * LOOPBACK_BYTES
  const url = `${server.url}/${KEY}`
  const fast = await connect(url)
  // The same work before, so that what a heap grows to by itself is not counted.
  for (let warmUp = 0; warmUp < 2; warmUp++) await flood(fast, bytes)
  const slow = await Promise.all(
    Array.from({ length: count }, () => connect(`${url}?epoch=${fast.position.epoch}&offset=${fast.position.offset}`)),
  )
  for (const client of slow) client.ws.pause()
  await settled(fast)
  const before = server.residentBytes()
  await flood(fast, bytes)
  const perReader = (server.residentBytes() - before) / count
  const kb = Math.round(perReader / 1024)
  console.log(
    `slow readers: ${count} parked behind ${bytes / 1e6} MB each cost ${kb} KB each (small network: ${server.isSmall})`,
  )
  expect(perReader).toBeLessThan(LIMIT_PER_READER_BYTES)
  // They were parked and not forgotten.
  const [one] = slow as [Client]
  one.ws.resume()
  await one.next('ai_stream_end', ({ offset }) => Number(offset) >= fast.position.offset)
})
