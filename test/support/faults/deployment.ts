import { onTestFinished } from 'vitest'
import { type Env, type ServerProcess, spawnServer } from '../server.ts'
import { startUpstream, type Upstream } from '../upstream.ts'
import type { SaidByUpstream } from './evidence.ts'
import { createRandom } from './fault-run.ts'

/** One life of a node. */
export interface FleetNode {
  /** Such as `node-3`; it is also the key by which the upstream knows it. */
  readonly name: string
  readonly server: ServerProcess
}

/** A request whose answer may still be on its way. */
export interface Answering extends SaidByUpstream {
  /** Neither side has ended it. */
  readonly isOpen: boolean
}

/** Nodes over one Redis, with one upstream. What a load balancer would know of the nodes is known here. */
export interface Deployment {
  readonly upstream: Upstream
  readonly said: readonly SaidByUpstream[]
  /** The nodes that clients are sent to. */
  readonly nodes: readonly FleetNode[]
  /** Starts one, and sends clients to it. */
  start(): Promise<FleetNode>
  /** Clients are sent to it no longer, or again. */
  withdraw(node: FleetNode): void
  offer(node: FleetNode): void
  kill(node: FleetNode): Promise<void>
  /** The address of one of them, in turns; throws where there is none. */
  urlAt(turn: number): string
  /** The answers of which something has been said, and not all: of one node, or of all. */
  midAnswer(node?: FleetNode): readonly Answering[]
}

/** How the upstream answers. */
export interface Answers {
  /** The least and the most words. */
  readonly words: readonly [number, number]
  /** Between two words, in ms, on average. */
  readonly pauseMs: number
}

/** One in so many answers begins with reasoning. */
const REASONED = 5
const REASONS = 3

/** Starts an upstream and `count` nodes on a Redis; all end when the test has finished. */
export async function deploy(
  redisUrl: string,
  { name, count, answers, env = {} }: { name: string; count: number; answers: Answers; env?: Env },
): Promise<Deployment> {
  const upstream = await startUpstream()
  onTestFinished(() => upstream.close())
  const said: Answering[] = []
  const nodes: FleetNode[] = []
  let started = 0

  upstream.always(async (answer, { index, headers, body, over }) => {
    const content = body.messages.findLast(({ role }) => role === 'user')?.content ?? ''
    // By what is asked, and not by when: that is the machine's.
    const random = createRandom(`${name} ${content}`)
    const words = random.between(...answers.words)
    const record = {
      index,
      arrivedAt: Date.now(),
      node: String(headers.authorization),
      content,
      words: 0,
      reasons: 0,
      isWhole: false,
      isOpen: true,
    }
    said[index] = record
    void over.then(() => {
      record.isOpen = false
    })
    const pause = () => new Promise((resolve) => setTimeout(resolve, 2 * answers.pauseMs * random.next()))
    for (let n = 0; n < (index % REASONED === 0 ? REASONS : 0); n++) {
      record.reasons++
      answer.reason(`q${index}.${n} `)
      await pause()
    }
    for (let n = 0; n < words; n++) {
      record.words++
      answer.say(`r${index}.${n} `)
      if (!(await answer.flushed())) return
      await pause()
    }
    record.isWhole = true
    answer.finish()
  })

  async function start(): Promise<FleetNode> {
    const name = `node-${++started}`
    const server = await spawnServer({
      REDIS_URL: redisUrl,
      OPENAI_BASE_URL: upstream.baseUrl,
      OPENAI_API_KEY: name,
      MODEL: 'test',
      SYSTEM_PROMPT: '',
      CONTEXT_MESSAGES: '2',
      LLM_BACKOFF_MS: '50',
      HISTORY_MESSAGES: '1000',
      ...env,
    })
    const node = { name, server }
    nodes.push(node)
    return node
  }

  function withdraw(node: FleetNode): void {
    const at = nodes.indexOf(node)
    if (at >= 0) nodes.splice(at, 1)
  }

  const first = await Promise.all(Array.from({ length: count }, start))
  first.sort((one, other) => one.name.localeCompare(other.name))
  return {
    upstream,
    said,
    nodes,
    start,
    withdraw,
    offer: (node) => void nodes.push(node),
    async kill(node) {
      withdraw(node)
      await node.server.kill()
    },
    urlAt(turn) {
      const node = nodes[turn % nodes.length]
      if (node === undefined) throw new Error('no node is up')
      return node.server.url
    },
    midAnswer: (node) =>
      said.filter(
        (each) =>
          each.isOpen &&
          !each.isWhole &&
          each.words + each.reasons > 0 &&
          (node === undefined || each.node === `Bearer ${node.name}`),
      ),
  }
}
