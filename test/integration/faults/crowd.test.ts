import { expect, onTestFinished, test } from 'vitest'
import { checkRun } from '../../support/faults/check-run.ts'
import { converse } from '../../support/faults/conversations.ts'
import { startCrowd } from '../../support/faults/crowd.ts'
import { deploy } from '../../support/faults/deployment.ts'
import { isLong } from '../../support/faults/fault-run.ts'
import { report } from '../../support/faults/report.ts'
import { startRedis } from '../../support/redis.ts'

const CLIENTS = 10_000
const CHANNELS = 200
/** Each has its own open-files limit. */
const PROCESSES = 2

test.runIf(isLong)(
  `G2 a node is killed, and ${CLIENTS} clients come back to the other one at once`,
  {
    timeout: 300_000,
  },
  async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.close())
    const answers = { words: [5, 10], pauseMs: 20 } as const
    const deployment = await deploy(redis.url, { name: 'crowd', count: 2, answers })
    const [dying, staying] = deployment.nodes
    if (dying === undefined || staying === undefined) throw new Error('two nodes were asked for')
    const crowd = startCrowd(CLIENTS, CHANNELS, PROCESSES)
    await crowd.sendTo([dying.server.url])
    // One in each channel who speaks, on the node that stays.
    deployment.withdraw(dying)
    const chats = converse(deployment, { chats: CHANNELS, members: 1, redisUrl: redis.url, turns: 0, name: 'crowd' })
    const say = (what: string) =>
      Promise.all(chats.chatters.map(({ channel, ask }) => ask(`${channel}-${what}`, `${channel} ${what}`)))
    const heads = async () => {
      const { logs } = await chats.evidence()
      return Object.fromEntries(logs.map(({ channel, epoch, records }) => [channel, `${epoch}:${records.length}`]))
    }
    await say('before')
    await crowd.join()
    await crowd.reach(await heads())

    const killed = Date.now()
    await crowd.sendTo([staying.server.url])
    await deployment.kill(dying)
    // What is said meanwhile is what they have missed.
    await say('meanwhile')
    await crowd.reach(await heads())
    const reached = Date.now()
    await say('after')
    await crowd.reach(await heads())

    const members = await crowd.members()
    const evidence = await chats.evidence()
    const verdict = checkRun({ ...evidence, clients: [...evidence.clients, ...members] })
    const recoveries = members.map(({ welcomes }) => (welcomes.findLast((at) => at > killed) ?? Number.NaN) - killed)
    report({
      scenario: '10000 clients come back at once',
      streams: verdict.turns,
      faults: 1,
      midAnswer: undefined,
      connections: members.reduce((sum, { counts }) => sum + counts.connections, 0),
      verdict,
      recoveries,
      notes: `all had what they had missed ${((reached - killed) / 1000).toFixed(1)} s after the kill`,
    })
    expect(members).toHaveLength(CLIENTS)
    // Whoever came back, however often he had to try, came back from his position.
    expect(members.filter(({ counts: { welcomes, resumed } }) => resumed < 1 || resumed !== welcomes - 1)).toEqual([])
  },
)
