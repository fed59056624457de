import { afterEach, describe, expect, test } from 'vitest'
import type { RateOptions } from '../../src/coordination/shared-rate.ts'
import type { CoordinationUnderTest } from './coordination.ts'

/** A coordination and the passing of its time. */
export interface RatesUnderTest extends CoordinationUnderTest {
  /** Answers how many ms it really was. */
  pass(ms: number): Promise<number>
}

const TEN: RateOptions = { perSecond: 20, burst: 10 }
const TOKEN_MS = 50

/** What every shared rate keeps, where one process uses it. */
export function sharedRateContract(name: string, start: () => Promise<RatesUnderTest>): void {
  describe(`shared rate: ${name}`, () => {
    const opened: RatesUnderTest[] = []
    async function open(options: RateOptions) {
      const one = await start()
      opened.push(one)
      const rate = one.coordination.rate('address', options)
      const takeAll = (key: string) => {
        let taken = 0
        for (; rate.waitMs(key) === 0; taken++) rate.take(key)
        return taken
      }
      return { rate, takeAll, pass: one.pass }
    }
    afterEach(async () => {
      for (const one of opened.splice(0)) await one.close()
    })

    test('Q5 a full bucket has a burst, and the time until the next token is told', async () => {
      const { rate, takeAll } = await open(TEN)
      expect(takeAll('a')).toBe(10)
      expect(rate.waitMs('a')).toBeGreaterThan(TOKEN_MS / 2)
      expect(rate.waitMs('a')).toBeLessThanOrEqual(TOKEN_MS)
    })

    test('Q5 each key has a bucket of its own, and each name, too', async () => {
      const { takeAll } = await open(TEN)
      expect(takeAll('a')).toBe(10)
      expect(takeAll('b')).toBe(10)
      const other = opened[0]?.coordination.rate('principal', TEN)
      expect(other?.waitMs('a')).toBe(0)
      expect(opened[0]?.coordination.rate('address', TEN).waitMs('a')).toBeGreaterThan(0)
    })

    test('Q5 to ask takes nothing', async () => {
      const { rate, takeAll } = await open({ perSecond: 1, burst: 2 })
      for (let i = 0; i < 20; i++) expect(rate.waitMs('a')).toBe(0)
      expect(takeAll('a')).toBe(2)
    })

    test('Q5 a bucket fills by its rate, and to its burst', async () => {
      const { takeAll, pass } = await open(TEN)
      expect(takeAll('a')).toBe(10)
      const tokens = (await pass(5 * TOKEN_MS)) / TOKEN_MS
      expect(Math.abs(takeAll('a') - tokens)).toBeLessThanOrEqual(1.5)
      await pass(15 * TOKEN_MS)
      expect(takeAll('a')).toBe(10)
    })
  })
}
