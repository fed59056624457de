import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { ChatterCounts } from './chatter.ts'
import type { SeenByClient } from './evidence.ts'

/** What a process of the crowd is asked; it answers each order when it has obeyed. `heads` are `epoch:offset` by channel. */
export type CrowdOrder =
  | { readonly type: 'urls'; readonly urls: readonly string[] }
  | { readonly type: 'join'; readonly first: number; readonly count: number; readonly channels: number }
  | { readonly type: 'reach'; readonly heads: Readonly<Record<string, string>> }
  | { readonly type: 'tell' }

type Pairs<M> = M extends ReadonlyMap<infer K, infer V> ? [K, V][] : M extends ReadonlySet<infer V> ? V[] : M

/** A client's evidence as it goes from process to process. */
type ToldClient = { readonly [K in keyof SeenByClient]: Pairs<SeenByClient[K]> } & {
  readonly counts: ChatterCounts
  readonly welcomes: readonly number[]
}

/** The answer to an order. */
export interface CrowdAnswer {
  readonly seen?: readonly ToldClient[]
}

/** What one of the crowd was shown, and when it was welcomed, in ms since 1970. */
export interface CrowdMember extends SeenByClient {
  readonly counts: ChatterCounts
  readonly welcomes: readonly number[]
}

/** Very many clients, in processes of their own. */
export interface Crowd {
  /** Sends those who connect from now on to these nodes, in turns. */
  sendTo(urls: readonly string[]): Promise<void>
  /** Resolves when everybody has been welcomed. */
  join(): Promise<void>
  /** Resolves when everybody is at the head of his channel. */
  reach(heads: Readonly<Record<string, string>>): Promise<void>
  members(): Promise<CrowdMember[]>
}

const PROCESS = fileURLToPath(new URL('crowd-process.ts', import.meta.url))

/** Starts the processes; ended with the test. Client n is in channel `crowd-<n % channels>`. */
export function startCrowd(clients: number, channels: number, processes: number): Crowd {
  const children = Array.from({ length: processes }, () =>
    fork(PROCESS, { execArgv: ['--disable-warning=ExperimentalWarning'] }),
  )
  onTestFinished(() => {
    for (const child of children) child.kill('SIGKILL')
  })
  const each = clients / processes

  async function ask(child: ChildProcess, order: CrowdOrder): Promise<CrowdAnswer> {
    const answered = once(child, 'message')
    child.send(order)
    const [answer] = await answered
    return answer
  }
  const all = (order: CrowdOrder) => Promise.all(children.map((child) => ask(child, order)))

  return {
    sendTo: async (urls) => void (await all({ type: 'urls', urls })),
    async join() {
      await Promise.all(
        children.map((child, n) => ask(child, { type: 'join', first: n * each, count: each, channels })),
      )
    },
    reach: async (heads) => void (await all({ type: 'reach', heads })),
    async members() {
      const answers = await all({ type: 'tell' })
      return answers.flatMap(({ seen = [] }) =>
        seen.map(({ states, snapshots, messages, turns, acknowledged, positions, ...rest }) => ({
          ...rest,
          states: new Map(states),
          snapshots: new Set(snapshots),
          messages: new Map(messages),
          turns: new Map(turns),
          acknowledged: new Map(acknowledged),
          positions: new Set(positions),
        })),
      )
    },
  }
}
