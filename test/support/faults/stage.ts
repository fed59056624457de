import { setTimeout as sleep } from 'node:timers/promises'
import type { Env } from '../server.ts'
import { type Conversations, converse } from './conversations.ts'
import { type Answers, type Deployment, deploy, type FleetNode } from './deployment.ts'
import { createRandom, isLong, type Random } from './fault-run.ts'

/** One fault, and what it struck. */
export interface Fault {
  /** In ms. */
  readonly at: number
  /** How many answers were being said then: on the node that it struck, or anywhere. */
  readonly midAnswer: number
}

/** What a scenario happens on. */
export interface Stage {
  readonly deployment: Deployment
  readonly chats: Conversations
  readonly random: Random
  readonly faults: readonly Fault[]
  /** One of the nodes that are in the middle of an answer. */
  pickStreaming(): Promise<FleetNode>
  /**
   * To be called right before a fault. Waits until it would strike an answer in the middle (of that node, or of those that
   * `isStruck` tells), so that none is for nothing, and notes it.
   */
  strike(where?: { readonly node?: FleetNode; readonly isStruck?: (channel: string) => boolean }): Promise<Fault>
}

/** See {@link setStage}. The defaults are those of most scenarios. */
export interface StageOptions {
  readonly nodes?: number
  readonly chats?: number
  readonly members?: number
  readonly answers?: Answers
  readonly env?: Env
  /** See `converse`. */
  readonly isCut?: boolean
}

/** Up to four seconds of words; up to one in a short run. */
const ANSWERS: Answers = isLong ? { words: [10, 60], pauseMs: 60 } : { words: [5, 25], pauseMs: 40 }
const POLL_MS = 10

/** Nodes on a Redis, and chats on the nodes; the clients of each chat are spread over the nodes. Ended with the test. */
export async function setStage(name: string, redisUrl: string, options: StageOptions = {}): Promise<Stage> {
  const {
    nodes = isLong ? 3 : 2,
    chats = isLong ? 60 : 10,
    members = 3,
    answers = ANSWERS,
    env = {},
    isCut = false,
  } = options
  const random = createRandom(name)
  const deployment = await deploy(redisUrl, { name, count: nodes, answers, env })
  const faults: Fault[] = []

  async function soon<T>(look: () => T | undefined): Promise<T> {
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      await sleep(POLL_MS)
    }
  }

  return {
    deployment,
    random,
    faults,
    chats: converse(deployment, { chats, members, redisUrl, isCut }),
    pickStreaming: () =>
      soon(() => {
        const streaming = deployment.nodes.filter((node) => deployment.midAnswer(node).length > 0)
        return streaming.length === 0 ? undefined : random.pick(streaming)
      }),
    strike: ({ node, isStruck = () => true } = {}) =>
      soon(() => {
        const struck = deployment.midAnswer(node).filter(({ content }) => isStruck(content.split(' ')[0] ?? ''))
        if (struck.length === 0) return undefined
        const fault = { at: performance.now(), midAnswer: struck.length }
        faults.push(fault)
        return fault
      }),
  }
}

/** How many fresh welcomes there were: each joining has one, and whoever has to begin anew. */
export function freshWelcomes({ chats }: Stage): number {
  return chats.chatters.reduce((sum, { counts }) => sum + counts.welcomes - counts.resumed, 0)
}
