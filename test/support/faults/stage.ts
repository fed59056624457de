import { type Conversations, converse } from './conversations.ts'
import { type Answers, type Deployment, deploy } from './deployment.ts'
import { createRandom, isLong, type Random } from './fault-run.ts'

/** What a scenario happens on. */
export interface Stage {
  readonly deployment: Deployment
  readonly chats: Conversations
  readonly random: Random
}

/** See {@link setStage}. The defaults are those of most scenarios. */
export interface StageOptions {
  readonly nodes?: number
  readonly chats?: number
  readonly members?: number
  readonly answers?: Answers
  readonly env?: Readonly<Record<string, string>>
  /** See `converse`. */
  readonly isCut?: boolean
}

/** Up to four seconds of words; up to one in a short run. */
const ANSWERS: Answers = isLong ? { words: [10, 60], pauseMs: 60 } : { words: [5, 25], pauseMs: 40 }

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
  const deployment = await deploy(redisUrl, { count: nodes, answers, random, env })
  return { deployment, random, chats: converse(deployment, { chats, members, redisUrl, isCut }) }
}
