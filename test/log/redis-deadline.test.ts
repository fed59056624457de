import { expect, test } from 'vitest'
import { realClock, untilDeadline } from '../../src/log/redis-deadline.ts'

test('what has waited for longer than it has is not begun: it could be done after its caller was told that it failed', async () => {
  let tries = 0
  const attempt = async () => ++tries
  await expect(untilDeadline(realClock, realClock.now(), attempt)).rejects.toMatchObject({ code: 'failed' })
  expect(tries).toBe(0)
  expect(await untilDeadline(realClock, realClock.now() + 1_000, attempt)).toBe(1)
})
