import { openSqliteLog } from '../../src/log/sqlite-log.ts'

/**
 * A server's log without the server, to be killed or starved from outside: opens the directory that it is given, appends
 * to three channels for as long as it is let, and prints a line for what was acknowledged, refused or shown.
 */
const CHANNELS = ['room/a', 'room/b', 'chat/c']
const PADDING = 'x'.repeat(400)

const log = await openSqliteLog({ dataDir: process.argv[2] ?? '' })
const print = (...words: readonly (string | number)[]) => process.stdout.write(`${words.join(' ')}\n`)

for (const key of CHANNELS) {
  log.follow(key, { record: ({ offset }) => print('shown', key, offset), reset: () => print('reset', key) })
}
print('opened')

async function write(key: string): Promise<never> {
  for (let sequence = 1, seenHead = 0; ; sequence += 1) {
    const entry = { type: 'message', content: `${sequence} ${PADDING}`, client_id: 'c' } as const
    try {
      const writer = { producer: 'turn:t', sequence, seenHead, epoch: 'e1' }
      const { offset } = await log.append(key, entry, writer)
      seenHead = offset
      print('acknowledged', key, offset, sequence)
    } catch (error) {
      print('refused', key, sequence, error instanceof Error ? error.message : String(error))
    }
  }
}

await Promise.all(CHANNELS.map(write))
