import { openRedisCoordination } from '../../src/coordination/redis-coordination.ts'
import { LogError } from '../../src/log/channel-log.ts'
import { openRedisLog } from '../../src/log/redis-log.ts'

/**
 * A server's part in the coordination without the server, to be killed or frozen from outside: takes the lease of a channel,
 * a place of a counter and a place in a room, prints its token, and appends under it whenever a line comes in.
 */
const [url = '', channel = '', leaseMs = ''] = process.argv.slice(2)
const print = (...words: readonly (string | number)[]) => process.stdout.write(`${words.join(' ')}\n`)

const log = await openRedisLog({ url, ttlMs: 3_600_000, waitReplicas: 0 })
const coordination = await openRedisCoordination({ url, leaseMs: Number(leaseMs) })
const lease = await coordination.lease(`turn:${channel}`, () => print('lost'))
await coordination.enter(channel, 'theirs')
await coordination.take('connections:one', 2)
coordination.onPresence((_, member, change) => print('told', member, change))
print('token', lease?.token ?? 0)

let sequence = 0
process.stdin.on('data', async () => {
  const entry = { type: 'message', content: 'mine?', client_id: 'c' } as const
  sequence += 1
  const writer = { producer: 'turn:t', sequence, fence: lease?.token ?? 0, seenHead: 0, epoch: 'e1' }
  print(
    await log.append(channel, entry, writer).then(
      () => 'appended',
      (error: unknown) => (error instanceof LogError ? error.code : 'failed otherwise'),
    ),
  )
})
