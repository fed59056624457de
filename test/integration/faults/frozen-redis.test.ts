import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { ended, say } from '../../support/chat-server.ts'
import { connect } from '../../support/client.ts'
import { checkRun } from '../../support/faults/check-run.ts'
import { converse } from '../../support/faults/conversations.ts'
import type { FleetNode } from '../../support/faults/deployment.ts'
import { isLong } from '../../support/faults/fault-run.ts'
import { judge } from '../../support/faults/judge.ts'
import { setStage } from '../../support/faults/stage.ts'
import { startRedis, until } from '../../support/redis.ts'
import { spawnServer } from '../../support/server.ts'
import { startUpstream } from '../../support/upstream.ts'

const FREEZES = isLong ? 6 : 1
const FROZEN_MS = isLong ? 6_000 : 3_000
/** Within what time a user is told that something could not be saved, in ms: one append's. The machine may be busy. */
const TOLD_MS = 1_000
const SLACK_MS = 500
const OTHERS = isLong ? 30 : 5
/** What a node may need more while nothing can be saved, in bytes. */
const MORE_BYTES = 64 * 1024 * 1024

const residentBytes = ({ server }: FleetNode) =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.process.pid}/status`, 'utf8'))?.[1]) * 1024
const statusOf = async ({ server }: FleetNode, path: string) => (await fetch(`${server.adminUrl}${path}`)).status

test(`Redis is frozen for a while, ${FREEZES} times: a clear error, bounded memory, not ready, well again by itself`, {
  timeout: 300_000,
}, async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const stage = await setStage('redis-frozen', redis.url)
  const { deployment, chats, random } = stage
  // Those whose turn does not run when Redis freezes, and who then say something.
  const others = converse(deployment, { chats: OTHERS, members: 2, redisUrl: redis.url, turns: 0, name: 'other' })
  let asked = 0
  const healing: number[] = []
  let mostMore = 0
  for (let freeze = 0; freeze < FREEZES; freeze++) {
    await sleep(2_000 + 1_000 * random.next())
    const before = deployment.nodes.map(residentBytes)
    await stage.strike()
    redis.freeze()
    const answers = others.chatters
      .filter(({ name }) => name.endsWith('/0'))
      .map(({ channel, ask }) => ask(`${channel}-${freeze}`, `${channel} message ${freeze}`))
    asked += answers.length
    await sleep(FROZEN_MS)
    for (const node of deployment.nodes) {
      expect(await statusOf(node, '/readyz')).toBe(503)
      expect(await statusOf(node, '/healthz')).toBe(200)
    }
    mostMore = Math.max(mostMore, ...deployment.nodes.map((node, n) => residentBytes(node) - (before[n] ?? 0)))
    const woken = performance.now()
    redis.wake()
    for (const node of deployment.nodes) await until(async () => (await statusOf(node, '/readyz')) === 200)
    healing.push(performance.now() - woken)
    // Before the next freeze, which may well interrupt an answer.
    expect(new Set(await Promise.all(answers))).toEqual(new Set(['completed']))
  }
  await others.finish()
  expect(checkRun(await others.evidence())).toMatchObject({ lost: [], twice: [], wrongOwner: [], turns: asked })
  const refusals = [...chats.chatters, ...others.chatters].flatMap((chatter) => chatter.refusals)
  const told = Math.max(...refusals)
  await judge(stage, {
    scenario: 'Redis frozen for a while',
    notes: () =>
      `frozen for ${FROZEN_MS / 1000} s, ${refusals.length} messages refused, the slowest after ${told.toFixed(0)} ms; ready ${Math.max(...healing).toFixed(0)} ms after it; at most ${(mostMore / 2 ** 20).toFixed(0)} MB more a node`,
  })
  // Everybody who said something while it was frozen was told so.
  expect(refusals.length).toBeGreaterThanOrEqual(asked)
  expect(told).toBeLessThan(TOLD_MS + SLACK_MS)
  expect(mostMore).toBeLessThan(MORE_BYTES)
})

test("C18 Redis freezes in mid-answer: the owner's members are told within the time of one append, once, and then its end", async () => {
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const redis = await startRedis()
  onTestFinished(() => redis.close())
  const node = await spawnServer({ REDIS_URL: redis.url, OPENAI_BASE_URL: upstream.baseUrl, MODEL: 'test' })
  const client = await connect(`${node.url}/ai-chat/one`)
  const answer = upstream.hold()
  const turn_id = await say(client, 'hello')
  const { over } = await answer.requested
  answer.say('one ')
  await client.next('ai_stream_chunk')
  redis.freeze()
  const frozen = performance.now()
  answer.say('two ')
  expect(await client.next('error')).toMatchObject({ code: 'stalled', turn_id })
  const took = performance.now() - frozen
  console.log(`a running answer was told of a frozen Redis after ${Math.round(took)} ms`)
  expect(took).toBeLessThan(TOLD_MS + SLACK_MS)
  // The turn gives up what it could not save in time.
  await over
  redis.wake()
  expect(await ended(client, turn_id)).toMatchObject({ outcome: expect.stringMatching(/failed|interrupted/) })
  expect(client.frames.filter(({ type }) => type === 'error')).toHaveLength(1)
})
