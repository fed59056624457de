import { defineConfig } from 'vitest/config'

/** What these do to their process, or measure of it, must not meet another file's. */
const ALONE = [
  'test/machines/rules.test.ts',
  'test/integration/slow-reader.test.ts',
  'test/integration/floods.test.ts',
  'test/log/redis-faults.test.ts',
  'test/coordination/redis-coordination-faults.test.ts',
]

export default defineConfig({
  test: {
    // uWebSockets.js is a native addon with one event loop of its own: a process, never a worker thread.
    pool: 'forks',
    // One file at a time, whatever the machine: on two cores a second one makes what others promise within a second late.
    maxWorkers: 1,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'shared',
          include: ['test/**/*.test.ts'],
          exclude: ALONE,
          // A process for many files: starting one and importing everything anew costs a second of CPU a file.
          isolate: false,
          restoreMocks: true,
          unstubGlobals: true,
        },
      },
      { extends: true, test: { name: 'alone', include: ALONE } },
    ],
  },
})
