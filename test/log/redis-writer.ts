import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { LogError } from '../../src/log/channel-log.ts'
import { keysOf } from '../../src/log/redis-keys.ts'
import { openRedisLog } from '../../src/log/redis-log.ts'

/**
 * A process that takes the channel's lease again and again (as coordination does: by raising `fence`), writes under it until
 * it is fenced off, and tells what was acknowledged, one JSON line each: `[fence, offset, content]`.
 * Arguments: url, channel key, name, how many entries.
 */
const [url = '', key = '', name = '', count = ''] = process.argv.slice(2)
const log = await openRedisLog({ url, ttlMs: 3_600_000, waitReplicas: 0 })
const redis = new Redis(url)

for (let written = 0; written < Number(count); ) {
  const fence = await redis.hincrby(keysOf(key).meta, 'fence', 1)
  for (let n = 0; n < 5 && written < Number(count); n++) {
    const content = `${fence} ${name} ${written}`
    const entry = { type: 'message', content, client_id: name } as const
    try {
      const options = { producer: `turn:${name}`, sequence: written + 1, fence, seenHead: 0, epoch: name }
      const { offset } = await log.append(key, entry, options)
      process.stdout.write(`${JSON.stringify([fence, offset, content])}\n`)
      written += 1
    } catch (error) {
      if (!(error instanceof LogError) || error.code !== 'fenced') throw error
      break
    }
    // Gives the others the time to take the lease.
    await pause(Math.random() * 2)
  }
}
redis.disconnect()
await log.close()
