import { defineConfig } from 'vitest/config'

/**
 * One at a time, each in a process of its own. Either they do something to their process, or measure of it, that must not
 * meet another file's; or half a second more than a timeout or a lease fails them, which a busy neighbour may cost.
 */
const ALONE = [
  'test/machines/rules.test.ts',
  'test/integration/slow-reader.test.ts',
  'test/integration/floods.test.ts',
  'test/integration/redis-away.test.ts',
  'test/integration/faults/frozen-redis.test.ts',
  'test/log/redis-faults.test.ts',
  'test/coordination/redis-coordination-faults.test.ts',
  'test/coordination/redis-queue.test.ts',
]

/** One for all files of a run, whatever process they run in. */
const FAULT_SEED = process.env.STATEWIRE_FAULT_SEED ?? `${Math.floor(Math.random() * 1e9)}`

export default defineConfig({
  test: {
    env: { STATEWIRE_FAULT_SEED: FAULT_SEED, STATEWIRE_FAULT_RUN: `${process.pid}` },
    // uWebSockets.js is a native addon with one event loop of its own: a process, never a worker thread.
    pool: 'forks',
    testTimeout: 20_000,
    hookTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'shared',
          include: ['test/**/*.test.ts'],
          exclude: ALONE,
          // Two at once even on two cores: most of the suite waits for something.
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
          // A process for many files: starting one and importing everything anew costs a second of CPU a file.
          isolate: false,
          restoreMocks: true,
          unstubGlobals: true,
        },
      },
      { extends: true, test: { name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
})
