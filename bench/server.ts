import { monitorEventLoopDelay } from 'node:perf_hooks'
import { pino } from 'pino'
import { loadConfig } from '../src/config.ts'
import { createServer } from '../src/server.ts'

// The server under measurement: tells its port, and its figures whenever it is asked.
const RESOLUTION_MS = 5
const NS_PER_MS = 1e6

const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
const server = createServer(loadConfig({ ...process.env, PORT: '0', ADMIN_PORT: '0' }), {
  logger: pino({ level: 'warn' }),
})
await server.start()
delay.enable()
process.send?.({ port: server.port })
process.on('message', () => {
  globalThis.gc?.()
  const { rss, heapUsed } = process.memoryUsage()
  const { user, system } = process.cpuUsage()
  // The histogram counts its own sampling interval; what is above it is delay.
  const ms = (ns: number) => Math.max(0, ns / NS_PER_MS - RESOLUTION_MS)
  process.send?.({
    residentBytes: rss,
    heapBytes: heapUsed,
    cpuMs: (user + system) / 1000,
    delayP50: ms(delay.percentile(50)),
    delayP99: ms(delay.percentile(99)),
    delayMax: ms(delay.max),
  })
  delay.reset()
})
