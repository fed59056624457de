import { describe, expect, test } from 'vitest'
import type { Clock } from '../../src/actor/clock.ts'
import { createSimulatedModel } from '../../src/model/simulated-model.ts'
import { chatModelContract, collect, idleSignal, requestOf } from '../contracts/chat-model.ts'
import { createFakeClock, type FakeClock } from '../support/fake-clock.ts'

const HOUR_MS = 3_600_000

/** Counts the timers that are set. */
function countTimers(clock: Clock): { clock: Clock; timers(): number } {
  const set = new Set<object>()
  return {
    clock: {
      now: clock.now,
      setTimeout(callback, delayMs) {
        const timer = clock.setTimeout(() => {
          set.delete(timer)
          callback()
        }, delayMs)
        set.add(timer)
        return timer
      },
      clearTimeout(timer) {
        set.delete(timer)
        clock.clearTimeout(timer)
      },
    },
    timers: () => set.size,
  }
}

chatModelContract('simulated-model', async () => {
  const { clock, timers } = countTimers(createFakeClock())
  return {
    prompt: createSimulatedModel({ clock, delayMs: 0 }),
    stalling: createSimulatedModel({ clock, delayMs: HOUR_MS, thinkMs: 0 }),
    silent: createSimulatedModel({ clock, delayMs: HOUR_MS }),
    async idle() {
      expect(timers()).toBe(0)
    },
    async close() {},
  }
})

describe('the simulated model', () => {
  /** The times at which the events came, as the clock is moved on in steps of 10 ms. */
  async function timesOf(clock: FakeClock, stream: ReturnType<ReturnType<typeof createSimulatedModel>['stream']>) {
    const times: number[] = []
    let over = false
    const collected = collect(stream, () => times.push(clock.now())).finally(() => {
      over = true
    })
    await new Promise(setImmediate)
    while (!over) {
      clock.advance(10)
      await new Promise(setImmediate)
    }
    await collected
    return times
  }

  test("says the tutorial's sentence, word by word with the space after each", async () => {
    const model = createSimulatedModel({ clock: createFakeClock(), delayMs: 0 })
    const { events } = await collect(model.stream(requestOf('hello  big world'), idleSignal()))
    expect(events).toEqual([
      { type: 'text', content: '你说的是: ' },
      { type: 'text', content: 'hello ' },
      { type: 'text', content: ' ' },
      { type: 'text', content: 'big ' },
      { type: 'text', content: 'world。让我想想... ' },
      { type: 'finish', finish_reason: 'stop', usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } },
    ])
  })

  test('thinks for half a second and pauses for 50 to 200 ms, as in the tutorial', async () => {
    const clock = createFakeClock()
    const content = Array.from({ length: 60 }, (_, i) => `w${i}`).join(' ')
    const times = await timesOf(clock, createSimulatedModel({ clock }).stream(requestOf(content), idleSignal()))
    expect(times[0]).toBe(500)
    const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0))
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(50)
    // The wheel is up to 10 ms late.
    expect(Math.max(...pauses)).toBeLessThanOrEqual(210)
    expect(new Set(pauses).size).toBeGreaterThan(3)
  })

  test('a given delay is kept exactly, before the first word and after each', async () => {
    const clock = createFakeClock()
    const model = createSimulatedModel({ clock, delayMs: 30 })
    expect(await timesOf(clock, model.stream(requestOf('a b'), idleSignal()))).toEqual([30, 60, 90, 120])
  })
})
