import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished, test } from 'vitest'
import { isLong } from '../../support/faults/fault-run.ts'
import { judge } from '../../support/faults/judge.ts'
import { setStage } from '../../support/faults/stage.ts'
import { startRedis } from '../../support/redis.ts'
import { startRedisProxy } from '../../support/redis-proxy.ts'

const FAULTS = 30
/** The longest that something is away or frozen, in ms. */
const LONGEST_MS = 5_000
const MOST_CUT = 50

test.runIf(isLong)(`${FAULTS} faults of all kinds, at random, one upon the other`, { timeout: 400_000 }, async () => {
  const redis = await startRedis({ durable: true })
  onTestFinished(() => redis.close())
  const proxy = await startRedisProxy(redis)
  onTestFinished(() => proxy.close())
  const { deployment, chats, random } = await setStage('chaos', proxy.url, {
    env: { HEARTBEAT_INTERVAL_MS: '500', HEARTBEAT_TIMEOUT_MS: '500', DRAIN_MS: '5000' },
  })
  const awhile = () => sleep(LONGEST_MS * random.next())

  const kinds: Record<string, () => Promise<unknown>> = {
    async 'node killed'() {
      await Promise.all([deployment.kill(random.pick(deployment.nodes)), deployment.start()])
    },
    async 'node frozen'() {
      const node = random.pick(deployment.nodes)
      deployment.withdraw(node)
      node.server.process.kill('SIGSTOP')
      await awhile()
      node.server.process.kill('SIGCONT')
      deployment.offer(node)
    },
    async 'node drained'() {
      const node = random.pick(deployment.nodes)
      await deployment.start()
      deployment.withdraw(node)
      await node.server.kill('SIGTERM')
    },
    async 'Redis killed'() {
      await redis.kill()
      await awhile()
      await redis.restart()
    },
    async 'Redis frozen'() {
      redis.freeze()
      await awhile()
      redis.wake()
    },
    'replies swallowed': async () => proxy.swallowReplies(),
    'pub/sub cut': async () => proxy.cutSubscribers(),
    async 'clients cut'() {
      for (let cut = 0; cut < MOST_CUT; cut++) random.pick(chats.chatters).cut()
    },
  }

  const faults: number[] = []
  const done: string[] = []
  let background: Promise<unknown> = Promise.resolve()
  for (let fault = 0; fault < FAULTS; fault++) {
    await sleep(2_000 * random.next())
    const kind = random.pick(Object.keys(kinds))
    done.push(kind)
    faults.push(performance.now())
    // Half of them are over before the next begins.
    const going = Promise.all([background, kinds[kind]?.()])
    if (random.next() < 0.5) await going
    else background = going.then(() => {})
    if (kind.startsWith('Redis') || kind === 'node frozen') await going
  }
  await background
  console.log(done.join(', '))
  await judge(chats, { scenario: 'faults of all kinds at random', faults })
})
