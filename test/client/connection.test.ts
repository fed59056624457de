import { describe, expect, it } from 'vitest'
import {
  CLOSE_DEADLINE_MS,
  type ConnectionParts,
  createConnection,
  FINAL_CODES,
  type Link,
  MAX_BACKOFF_MS,
  WELCOME_DEADLINE_MS,
} from '../../src/client/connection.ts'
import { CLOSES } from '../../src/protocol/close-codes.ts'
import { createFakeSockets, createFakeTime, welcomeText } from './fake-sockets.ts'

function connected(random = 0.5, parts: Partial<ConnectionParts> = {}) {
  const clock = createFakeTime()
  const sockets = createFakeSockets()
  const links: Link[] = []
  let position: { epoch: string; offset: number } | undefined
  const connection = createConnection({
    url: 'ws://host/ai-chat/x',
    position: () => position,
    openSocket: sockets.open,
    clock,
    random: () => random,
    onFrame() {},
    onLink: (link) => links.push(link),
    ...parts,
  })
  return {
    clock,
    sockets,
    links,
    connection,
    setPosition: (next: typeof position) => {
      position = next
    },
    /** Lets the newest socket come as far as `welcome`. */
    admit() {
      sockets.last().events.opened()
      sockets.last().events.message(welcomeText())
    },
  }
}

/** How long until there is one socket more, in ms. */
function waitFor(test: ReturnType<typeof connected>): number {
  const before = test.sockets.all.length
  for (let waited = 0; waited <= 2 * MAX_BACKOFF_MS; waited += 10) {
    if (test.sockets.all.length > before) return waited
    test.clock.advance(10)
  }
  return Number.POSITIVE_INFINITY
}

describe('connection', () => {
  it('goes through the chart’s states to open, and sends only then', () => {
    const { links, connection, sockets, admit } = connected()
    expect(connection.send({ type: 'early' })).toBe(false)
    admit()
    expect(links.map((link) => link.at)).toEqual(['connecting', 'accepting', 'open'])
    expect(connection.send({ type: 'now' })).toBe(true)
    expect(sockets.last().sent).toEqual(['{"type":"now"}'])
  })

  it('G2 comes back with the position that the client holds by then', () => {
    const test = connected()
    expect(test.sockets.last().url).toBe('ws://host/ai-chat/x')
    test.admit()
    test.setPosition({ epoch: 'e', offset: 42 })
    test.sockets.last().events.closed(1006, '')
    waitFor(test)
    expect(test.sockets.last().url).toBe('ws://host/ai-chat/x?epoch=e&offset=42')
  })

  it('waits longer after each failure, up to the cap, by a random part of it', () => {
    const test = connected(1)
    const waits = Array.from({ length: 9 }, () => {
      test.sockets.last().events.closed(1006, '')
      return waitFor(test)
    })
    expect(waits).toEqual([...waits].sort((a, b) => a - b))
    expect(waits.at(0)).toBeLessThanOrEqual(520)
    expect(waits.at(-1)).toBeGreaterThanOrEqual(MAX_BACKOFF_MS)
    expect(waits.at(-1)).toBeLessThanOrEqual(MAX_BACKOFF_MS + 20)
    const lucky = connected(0)
    lucky.sockets.last().events.closed(1006, '')
    expect(waitFor(lucky)).toBeLessThanOrEqual(20)
  })

  it('begins with short waits again once a connection has held', () => {
    const test = connected(1)
    for (let failure = 0; failure < 6; failure++) {
      test.sockets.last().events.closed(1006, '')
      waitFor(test)
    }
    test.admit()
    test.sockets.last().events.closed(CLOSES.fault.code, '')
    expect(waitFor(test)).toBeGreaterThan(10_000)
    test.admit()
    test.clock.advance(6_000)
    test.sockets.last().events.closed(CLOSES.fault.code, '')
    expect(waitFor(test)).toBeLessThanOrEqual(520)
  })

  it('comes back quickly each time that only the line was cut', () => {
    const test = connected(1)
    for (let cut = 0; cut < 6; cut++) {
      test.admit()
      test.sockets.last().events.closed(1006, '')
      expect(waitFor(test)).toBeLessThanOrEqual(520)
    }
  })

  it('L8 comes back after draining when the server said, and not by its own backoff', () => {
    const test = connected(0)
    test.admit()
    test.sockets.last().events.message('{"type":"draining","reconnect_after_ms":7000}')
    expect(test.connection.link().at).toBe('open')
    // The log of its channel has another epoch.
    test.sockets.last().events.message(welcomeText({ epoch: 'f', resumed: true }))
    test.sockets.last().events.closed(CLOSES.draining.code, '')
    const waited = waitFor(test)
    expect(waited).toBeGreaterThanOrEqual(7_000)
    expect(waited).toBeLessThanOrEqual(7_020)
  })

  it('L9 does not come back by itself after a close that asks for that, but does by hand', () => {
    const test = connected()
    test.admit()
    test.sockets.last().events.closed(CLOSES.abusive.code, '')
    expect(test.connection.link()).toMatchObject({ at: 'closed', code: 4429 })
    test.connection.wake()
    expect(waitFor(test)).toBe(Number.POSITIVE_INFINITY)
    test.connection.reconnect()
    expect(test.sockets.all).toHaveLength(2)
  })

  it('H3 breaks a silence by a ping, and leaves a dead link at once for a new socket', () => {
    const test = connected()
    test.admit()
    const first = test.sockets.last()
    test.clock.advance(30_020)
    expect(first.sent).toEqual(['{"type":"ping"}'])
    test.clock.advance(10_020)
    expect(test.sockets.all).toHaveLength(2)
    expect(first.closed).toBe(true)
    first.events.closed(1006, '')
    expect(test.connection.link().at).toBe('connecting')
  })

  it('H1 anything heard is a sign of life', () => {
    const test = connected()
    test.admit()
    for (let second = 0; second < 100; second++) {
      test.clock.advance(1_000)
      test.sockets.last().events.message('{"type":"something new"}')
    }
    expect(test.sockets.last().sent).toEqual([])
    test.clock.advance(30_020)
    test.sockets.last().events.message('{"type":"pong"}')
    test.clock.advance(20_000)
    expect(test.sockets.all).toHaveLength(1)
  })

  it('gives up an attempt that gets no welcome', () => {
    const test = connected(0)
    test.sockets.last().events.opened()
    test.clock.advance(WELCOME_DEADLINE_MS + 50)
    expect(test.sockets.all.length).toBeGreaterThan(1)
    expect(test.sockets.all[0]?.closed).toBe(true)
  })

  it('tries nothing while offline, and at once when back', () => {
    const test = connected()
    test.admit()
    test.sockets.last().events.closed(1006, '')
    test.connection.offline()
    expect(test.connection.link()).toMatchObject({ at: 'offline' })
    expect(waitFor(test)).toBe(Number.POSITIVE_INFINITY)
    test.connection.wake()
    expect(test.sockets.all).toHaveLength(2)
  })

  it('asks an open link whether it lives when the device wakes up', () => {
    const test = connected()
    test.admit()
    test.connection.wake()
    expect(test.sockets.last().sent).toEqual(['{"type":"ping"}'])
    test.clock.advance(10_020)
    expect(test.sockets.all).toHaveLength(2)
  })

  it('stays closed once it was closed', () => {
    const test = connected()
    test.admit()
    test.connection.close()
    expect(test.connection.link().at).toBe('closing')
    test.sockets.last().events.closed(1000, '')
    test.connection.wake()
    test.connection.reconnect()
    expect(waitFor(test)).toBe(Number.POSITIVE_INFINITY)
    expect(test.connection.link()).toEqual({ at: 'closed' })
  })

  it('L9 knows the close codes of the table after which it is not to come back', () => {
    const codes = Object.values(CLOSES).flatMap((close) => (close.again ? [] : [close.code]))
    expect([...FINAL_CODES].sort()).toEqual([...new Set(codes)].sort())
    for (const close of Object.values(CLOSES)) expect(FINAL_CODES.includes(close.code)).toBe(!close.again)
  })

  it('L9 comes back after such a code where it was told to', () => {
    const test = connected(0, { again: (code) => code === CLOSES.signIn.code })
    test.admit()
    test.sockets.last().events.closed(CLOSES.signIn.code, 'sign in again')
    expect(waitFor(test)).toBeLessThanOrEqual(20)
    test.sockets.last().events.closed(CLOSES.fault.code, '')
    expect(test.connection.link()).toEqual({ at: 'closed', code: CLOSES.fault.code, reason: '' })
  })

  it('stays away for the retry_after_ms of an error before the welcome', () => {
    const test = connected(0)
    test.sockets.last().events.opened()
    const error = { type: 'error', code: 'busy', content: 'Too many of you.', retry_after_ms: 9_000 }
    test.sockets.last().events.message(JSON.stringify(error))
    test.sockets.last().events.closed(CLOSES.full.code, '')
    const waited = waitFor(test)
    expect(waited).toBeGreaterThanOrEqual(9_000)
    expect(waited).toBeLessThanOrEqual(9_020)
  })

  it('L2 comes back to the private channel that it was given, and keeps the rest of the URL', () => {
    const test = connected(0, { url: 'ws://host/prefix/ai-chat?token=a%20b' })
    expect(test.sockets.last().url).toBe('ws://host/prefix/ai-chat?token=a%20b')
    test.admit()
    test.setPosition({ epoch: 'e', offset: 4 })
    test.sockets.last().events.closed(1006, '')
    waitFor(test)
    expect(test.sockets.last().url).toBe('ws://host/prefix/ai-chat/x?token=a+b&epoch=e&offset=4')
  })

  it('asks for the URL before each attempt, and takes a failure for an attempt', async () => {
    let asked = 0
    const test = connected(0, {
      async url() {
        if (++asked === 2) throw new Error('no token today')
        return `ws://host/ai-chat/x?token=${asked}`
      },
    })
    await expect.poll(() => test.sockets.all.length).toBe(1)
    expect(test.sockets.last().url).toBe('ws://host/ai-chat/x?token=1')
    test.sockets.last().events.closed(1006, '')
    test.clock.advance(20)
    await expect.poll(() => test.connection.link()).toMatchObject({ at: 'waiting', failures: 2 })
    test.clock.advance(20)
    await expect.poll(() => test.sockets.all.length).toBe(2)
    expect(test.sockets.last().url).toBe('ws://host/ai-chat/x?token=3')
  })

  it('ends although the server never answers the close', () => {
    const test = connected()
    test.admit()
    test.connection.close()
    test.clock.advance(CLOSE_DEADLINE_MS + 20)
    expect(test.connection.link()).toEqual({ at: 'closed' })
  })
})
