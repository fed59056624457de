import { createMemoryLog } from '../../src/log/memory-log.ts'
import { channelLogContract } from '../contracts/channel-log.ts'

channelLogContract('memory', {
  outlives: false,
  async open(now) {
    const log = createMemoryLog({ now })
    return { log, close: () => log.close() }
  },
})
