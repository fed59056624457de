import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Coordination } from '../../src/coordination/coordination.ts'

/** One with nothing in it, and how to let go of it. */
export interface CoordinationUnderTest {
  readonly coordination: Coordination
  close(): Promise<void>
}

/** What every coordination keeps. */
export function coordinationContract(name: string, start: () => Promise<CoordinationUnderTest>): void {
  describe(`coordination: ${name}`, () => {
    const opened: CoordinationUnderTest[] = []
    async function open(): Promise<Coordination> {
      const one = await start()
      opened.push(one)
      return one.coordination
    }
    afterEach(async () => {
      for (const one of opened.splice(0)) await one.close()
    })

    test('a lease is held by one at a time', async () => {
      const coordination = await open()
      const leases = await Promise.all([
        coordination.lease('turn:one', () => {}),
        coordination.lease('turn:one', () => {}),
      ])
      expect(leases.filter((lease) => lease !== undefined)).toHaveLength(1)
      expect(await coordination.lease('turn:one', () => {})).toBeUndefined()
      expect(await coordination.lease('turn:other', () => {})).toBeDefined()
    })

    test('the token of a name rises with each lease, however fast they follow', async () => {
      const coordination = await open()
      const tokens: number[] = []
      for (let i = 0; i < 50; i++) {
        const lease = await coordination.lease('turn:one', () => {})
        tokens.push(lease?.token ?? Number.NaN)
        lease?.release()
      }
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b))
      expect(tokens).toHaveLength(50)
    })

    test('a lease that was released twice does not release its successor', async () => {
      const coordination = await open()
      const first = await coordination.lease('turn:one', () => {})
      first?.release()
      expect(await coordination.lease('turn:one', () => {})).toBeDefined()
      first?.release()
      expect(await coordination.lease('turn:one', () => {})).toBeUndefined()
    })

    test('R1 who enters a room is told everybody, itself included, in order of arrival', async () => {
      const coordination = await open()
      expect(await coordination.enter('room/one', 'a')).toEqual(['a'])
      expect(await coordination.enter('room/one', 'b')).toEqual(['a', 'b'])
      expect(await coordination.enter('room/other', 'c')).toEqual(['c'])
      expect(await coordination.members('room/one')).toEqual(['a', 'b'])
    })

    test('R3 who left a room is not in it; leaving twice, or where one never was, does nothing', async () => {
      const coordination = await open()
      await coordination.enter('room/one', 'a')
      await coordination.enter('room/one', 'b')
      await coordination.leave('room/one', 'a')
      await coordination.leave('room/one', 'a')
      await coordination.leave('room/other', 'b')
      expect(await coordination.members('room/one')).toEqual(['b'])
      expect(await coordination.members('room/other')).toEqual([])
      expect(await coordination.enter('room/one', 'a')).toEqual(['b', 'a'])
    })

    test('G9 a signal reaches all who listen to its channel, but its sender, until they end', async () => {
      const coordination = await open()
      const heard: string[] = []
      const ear = (name: string) => (text: string) => void heard.push(`${name}: ${text}`)
      const a = coordination.listen('room/one', ear('a'))
      const b = coordination.listen('room/one', ear('b'))
      coordination.listen('room/other', ear('other'))
      await signalArrives(
        () => a.send('from a'),
        () => heard.includes('b: from a'),
      )
      b.end()
      const c = coordination.listen('room/one', ear('c'))
      await signalArrives(
        () => c.send('from c'),
        () => heard.includes('a: from c'),
      )
      expect(heard).toEqual(['b: from a', 'a: from c'])
    })

    test('a counter gives as many places as its limit, also to those who ask at once', async () => {
      const coordination = await open()
      const taken = await Promise.all(Array.from({ length: 10 }, () => coordination.take('connections:one', 3)))
      expect(taken.filter((isTaken) => isTaken)).toHaveLength(3)
      expect(await coordination.take('connections:other', 3)).toBe(true)
    })

    test('a place that was given back can be taken again; more were never taken than given back', async () => {
      const coordination = await open()
      expect(await coordination.take('connections:one', 1)).toBe(true)
      await coordination.giveBack('connections:one')
      await coordination.giveBack('connections:one')
      expect(await coordination.take('connections:one', 1)).toBe(true)
      expect(await coordination.take('connections:one', 1)).toBe(false)
    })
  })
}

/** Sends, and waits until it has been heard: who listens from now on may not be heard at once. */
async function signalArrives(send: () => void, isHeard: () => boolean): Promise<void> {
  send()
  await vi.waitFor(() => expect(isHeard()).toBe(true))
}
