/** `npm run test:faults` sets it: the runs whose results docs/reliability.md shows. Else the short ones. */
export const isLong = process.env.STATEWIRE_FAULTS === 'long'

/** What the random choices of a run begin with: the same number makes the same choices. vitest.config.ts draws one for all files. */
export const seed = Number(process.env.STATEWIRE_FAULT_SEED)
if (!Number.isInteger(seed)) throw new Error('STATEWIRE_FAULT_SEED is not a whole number')

/** Random numbers of one scenario, repeatable by the run's seed. */
export interface Random {
  /** From 0 up to 1. */
  next(): number
  /** A whole number, both ends included. */
  between(low: number, high: number): number
  pick<T>(of: readonly T[]): T
}

/** Mulberry32; `name` gives each scenario a sequence of its own, whichever others run. */
export function createRandom(name: string): Random {
  let state = seed >>> 0
  for (const letter of name) state = (Math.imul(state, 31) + (letter.codePointAt(0) ?? 0)) >>> 0

  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (low: number, high: number) => low + Math.floor(next() * (high - low + 1))
  return {
    next,
    between,
    pick(of) {
      const picked = of[between(0, of.length - 1)]
      if (picked === undefined) throw new Error('there is nothing to pick from')
      return picked
    },
  }
}
