import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSqliteLog } from '../../src/log/sqlite-log.ts'
import { channelLogContract } from '../contracts/channel-log.ts'

channelLogContract('sqlite', {
  outlives: true,
  async open(now) {
    const dataDir = await mkdtemp(join(tmpdir(), 'statewire-log-'))
    let log = await openSqliteLog({ dataDir, now })
    return {
      log,
      async reopen() {
        await log.close()
        log = await openSqliteLog({ dataDir, now })
        return log
      },
      async close() {
        await log.close()
        await rm(dataDir, { recursive: true })
      },
    }
  },
})
