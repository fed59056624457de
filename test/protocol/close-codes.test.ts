import { expect, test } from 'vitest'
import { CLOSES } from '../../src/protocol/close-codes.ts'

test.each(Object.entries(CLOSES))('L9 the close %s can be sent, and says why', (_, { code, reason, when }) => {
  // RFC 6455: codes that an endpoint may send; a close frame holds 123 bytes of reason.
  const isSendable =
    (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 4000 && code <= 4999)
  expect(isSendable).toBe(true)
  expect(Buffer.byteLength(reason)).toBeGreaterThan(0)
  expect(Buffer.byteLength(reason)).toBeLessThanOrEqual(123)
  expect(when).toMatch(/\.$/)
})

test('L9 a client that is to blame is not told to come back by itself', () => {
  const again = Object.values(CLOSES).filter((close) => close.again)
  expect(new Set(again.map(({ code }) => code))).toEqual(new Set([1001, 1011, 1013, 4408]))
})
