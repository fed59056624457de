import { openRedisCoordination } from '../../src/coordination/redis-coordination.ts'

/** A process that asks a queue for places and keeps what it gets, to be killed or frozen from outside. */
const [url = '', leaseMs = '', concurrency = '', requests = ''] = process.argv.slice(2)
const coordination = await openRedisCoordination({ url, leaseMs: Number(leaseMs) })
const queue = coordination.queue('chat', { concurrency: Number(concurrency), limit: 100 })
let running = 0
for (let i = 0; i < Number(requests); i++) {
  queue.request('theirs', {
    granted: () => process.stdout.write(`running ${++running}\n`),
    moved: (position) => process.stdout.write(`position ${position}\n`),
    refused: () => process.stdout.write('refused\n'),
  })
}
