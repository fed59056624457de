import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { FleetNode } from '../../support/faults/deployment.ts'
import { isLong } from '../../support/faults/fault-run.ts'
import { judge } from '../../support/faults/judge.ts'
import { setStage } from '../../support/faults/stage.ts'
import { startRedis } from '../../support/redis.ts'
import { startRedisProxy } from '../../support/redis-proxy.ts'

/** How often each kind of fault comes. */
const ROUNDS = 4
/** The longest that something is away or frozen, in ms. */
const LONGEST_MS = 5_000
const MOST_CUT = 50

test.runIf(isLong)(
  `faults of all kinds, ${ROUNDS} times each, at random, one upon the other`,
  { timeout: 400_000 },
  async () => {
    const redis = await startRedis({ durable: true })
    onTestFinished(() => redis.close())
    const proxy = await startRedisProxy(redis)
    onTestFinished(() => proxy.close())
    const stage = await setStage('chaos', proxy.url, {
      env: { HEARTBEAT_INTERVAL_MS: '500', HEARTBEAT_TIMEOUT_MS: '500', DRAIN_MS: '5000' },
    })
    const { deployment, chats, random } = stage
    const awhile = () => sleep(LONGEST_MS * random.next())

    async function struckNode(): Promise<FleetNode> {
      const node = await stage.pickStreaming()
      await stage.strike({ node })
      return node
    }

    const kinds: Record<string, () => Promise<unknown>> = {
      async 'node killed'() {
        const node = await struckNode()
        await Promise.all([deployment.kill(node), deployment.start()])
      },
      async 'node frozen'() {
        const node = await struckNode()
        deployment.withdraw(node)
        node.server.process.kill('SIGSTOP')
        await awhile()
        node.server.process.kill('SIGCONT')
        deployment.offer(node)
      },
      async 'node drained'() {
        await deployment.start()
        const node = await struckNode()
        deployment.withdraw(node)
        await node.server.kill('SIGTERM')
      },
      async 'Redis killed'() {
        await stage.strike()
        await redis.kill()
        await awhile()
        await redis.restart()
      },
      async 'Redis frozen'() {
        await stage.strike()
        redis.freeze()
        await awhile()
        redis.wake()
      },
      async 'replies swallowed'() {
        await stage.strike()
        proxy.swallowReplies()
      },
      async 'pub/sub cut'() {
        await stage.strike()
        proxy.cutSubscribers()
      },
      async 'clients cut'() {
        await stage.strike()
        for (let cut = 0; cut < MOST_CUT; cut++) random.pick(chats.chatters).cut()
      },
    }

    const deck = Array.from({ length: ROUNDS }, () => Object.keys(kinds)).flat()
    const done: string[] = []
    let background: Promise<unknown> = Promise.resolve()
    while (deck.length > 0) {
      await sleep(2_000 * random.next())
      const [kind = ''] = deck.splice(random.between(0, deck.length - 1), 1)
      done.push(kind)
      // Half of them are over before the next begins.
      const going = Promise.all([background, kinds[kind]?.()])
      if (random.next() < 0.5) await going
      else background = going.then(() => {})
      if (kind.startsWith('Redis') || kind === 'node frozen') await going
    }
    await background
    console.log(done.join(', '))
    expect(stage.faults).toHaveLength(done.length)
    await judge(stage, { scenario: 'faults of all kinds at random' })
  },
)
