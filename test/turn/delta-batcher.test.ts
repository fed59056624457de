import { expect, test, vi } from 'vitest'
import { createDeltaBatcher } from '../../src/turn/delta-batcher.ts'

/** An append that each call waits in, until the test lets it go. */
function createSlowAppend() {
  const calls: { kind: string; content: string; done: PromiseWithResolvers<void> }[] = []
  const append = (kind: string, content: string) => {
    const done = Promise.withResolvers<void>()
    calls.push({ kind, content, done })
    return done.promise
  }
  return { calls, append, contents: () => calls.map(({ kind, content }) => `${kind}: ${content}`) }
}

const tick = () => new Promise(setImmediate)

test('all that comes while an append is under way goes into the next one', async () => {
  const { calls, append, contents } = createSlowAppend()
  const batcher = createDeltaBatcher(append, () => {})
  batcher.push('text', 'a')
  await tick()
  for (const content of ['b', 'c', 'd']) batcher.push('text', content)
  await tick()
  expect(contents()).toEqual(['text: a'])
  calls[0]?.done.resolve()
  await tick()
  expect(contents()).toEqual(['text: a', 'text: bcd'])
})

test('what comes in one go is one append', async () => {
  const { append, contents } = createSlowAppend()
  const batcher = createDeltaBatcher(append, () => {})
  batcher.push('text', 'a')
  batcher.push('text', 'b')
  await tick()
  expect(contents()).toEqual(['text: ab'])
})

test('C2 text and reasoning are not mixed, and keep their order', async () => {
  const { calls, append, contents } = createSlowAppend()
  const batcher = createDeltaBatcher(append, () => {})
  batcher.push('reasoning', 'r1')
  batcher.push('reasoning', 'r2')
  batcher.push('text', 't1')
  batcher.push('reasoning', 'r3')
  for (let call = 0; call < 3; call++) {
    await tick()
    expect(calls).toHaveLength(call + 1)
    calls[call]?.done.resolve()
  }
  expect(contents()).toEqual(['reasoning: r1r2', 'text: t1', 'reasoning: r3'])
})

test('flush resolves when all is in the log, what was pushed while it waited included', async () => {
  const { calls, append } = createSlowAppend()
  const batcher = createDeltaBatcher(append, () => {})
  await batcher.flush()
  batcher.push('text', 'a')
  let isFlushed = false
  const flushed = batcher.flush().then(() => {
    isFlushed = true
  })
  await tick()
  batcher.push('text', 'b')
  calls[0]?.done.resolve()
  await tick()
  expect(isFlushed).toBe(false)
  calls[1]?.done.resolve()
  await flushed
  expect(calls).toHaveLength(2)
})

test('after a failed append nothing more is appended, it is told once, and flush rejects with it', async () => {
  const { calls, append } = createSlowAppend()
  const onFailed = vi.fn()
  const batcher = createDeltaBatcher(append, onFailed)
  batcher.push('text', 'a')
  await tick()
  batcher.push('text', 'b')
  const failure = new Error('the disk is full')
  calls[0]?.done.reject(failure)
  await expect(batcher.flush()).rejects.toBe(failure)
  batcher.push('text', 'c')
  await tick()
  expect(calls).toHaveLength(1)
  expect(onFailed.mock.calls).toEqual([[failure]])
  await expect(batcher.flush()).rejects.toBe(failure)
})
