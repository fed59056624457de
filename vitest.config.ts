import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // uWebSockets.js is a native addon with one event loop of its own: a process per file, never a worker thread.
    pool: 'forks',
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
})
