/** Resolves when it is one's turn to join. */
export type Turnstile = () => Promise<void>

/** How many join in one turn of the event loop; each takes some tenths of a ms. */
const JOINS_A_TURN = 50

/**
 * Lets so many through at once and the others, in order, in the next turns of the event loop. Thousands that come back
 * together would otherwise hold it up for seconds, and what Redis answers meanwhile would be taken for late.
 */
export function createTurnstile(perTurn: number = JOINS_A_TURN): Turnstile {
  const waiting: (() => void)[] = []
  let passed = 0
  let isTurning = false

  function turn(): void {
    const next = waiting.splice(0, perTurn)
    passed = next.length
    isTurning = passed > 0
    if (isTurning) setImmediate(turn)
    for (const pass of next) pass()
  }

  return async () => {
    if (!isTurning) {
      isTurning = true
      setImmediate(turn)
    }
    if (passed < perTurn && waiting.length === 0) passed++
    else await new Promise<void>((resolve) => waiting.push(resolve))
  }
}
