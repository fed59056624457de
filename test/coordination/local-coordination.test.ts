import { expect, test } from 'vitest'
import { createTimerWheel } from '../../src/actor/timer-wheel.ts'
import { createLocalCoordination } from '../../src/coordination/local-coordination.ts'
import { coordinationContract } from '../contracts/coordination.ts'
import { fairQueueContract } from '../contracts/fair-queue.ts'
import { sharedRateContract } from '../contracts/shared-rate.ts'
import { createFakeClock } from '../support/fake-clock.ts'

const start = async () => ({ coordination: createLocalCoordination(createTimerWheel(() => {})), close: async () => {} })
coordinationContract('local', start)
fairQueueContract('local', start)
sharedRateContract('local', async () => {
  const clock = createFakeClock()
  return {
    coordination: createLocalCoordination(clock),
    async pass(ms) {
      clock.advance(ms)
      return ms
    },
    close: async () => {},
  }
})

test('tokens rise over restarts, too: the log remembers the last one, the process does not', async () => {
  const before = await createLocalCoordination(createFakeClock(), () => 1_000).lease('turn:one', () => {})
  const after = await createLocalCoordination(createFakeClock(), () => 1_001).lease('turn:one', () => {})
  expect(after?.token).toBeGreaterThan(before?.token ?? Number.NaN)
})
