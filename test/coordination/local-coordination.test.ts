import { expect, test } from 'vitest'
import { createLocalCoordination } from '../../src/coordination/local-coordination.ts'
import { coordinationContract } from '../contracts/coordination.ts'

coordinationContract('local', async () => ({ coordination: createLocalCoordination(), close: async () => {} }))

test('tokens rise over restarts, too: the log remembers the last one, the process does not', async () => {
  const before = await createLocalCoordination(() => 1_000).lease('turn:one', () => {})
  const after = await createLocalCoordination(() => 1_001).lease('turn:one', () => {})
  expect(after?.token).toBeGreaterThan(before?.token ?? Number.NaN)
})
