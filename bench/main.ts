import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectLight, type LightClient } from './clients.ts'

/**
 * `npm run bench [idle] [streams]`: a server in a process of its own, clients in this one. Figures, no verdicts: they
 * depend on the machine.
 */

/** What the server's process tells of itself. */
interface ServerFigures {
  readonly residentBytes: number
  readonly heapBytes: number
  readonly cpuMs: number
  /** Event-loop delay since the last question, in ms. */
  readonly delayP50: number
  readonly delayP99: number
  readonly delayMax: number
}

const IDLE_CONNECTIONS = Number(process.env.BENCH_CONNECTIONS ?? 18_000)
const STREAMS = Number(process.env.BENCH_STREAMS ?? 500)
const WORDS = Number(process.env.BENCH_WORDS ?? 400)
const CONNECTING_AT_ONCE = 200

async function withServer(
  env: Record<string, string>,
  run: (port: number, ask: () => Promise<ServerFigures>) => Promise<void>,
) {
  const dataDir = mkdtempSync(join(tmpdir(), 'statewire-bench-'))
  const child = fork(fileURLToPath(new URL('server.ts', import.meta.url)), {
    env: { ...process.env, DATA_DIR: dataDir, LOG_LEVEL: 'warn', ...env },
    execArgv: ['--disable-warning=ExperimentalWarning', '--expose-gc'],
  })
  const ask = async () => {
    child.send('figures')
    const [figures] = await once(child, 'message')
    return figures as ServerFigures
  }
  try {
    const [{ port }] = (await once(child, 'message')) as [{ port: number }]
    await run(port, ask)
  } finally {
    child.kill('SIGKILL')
    await once(child, 'exit')
    rmSync(dataDir, { recursive: true, force: true })
  }
}

async function idle(): Promise<void> {
  await withServer({}, async (port, ask) => {
    const before = await ask()
    const clients: LightClient[] = []
    const began = performance.now()
    let errors = 0
    for (let from = 0; from < IDLE_CONNECTIONS; from += CONNECTING_AT_ONCE) {
      const some = Array.from({ length: Math.min(CONNECTING_AT_ONCE, IDLE_CONNECTIONS - from) }, () =>
        connectLight(port, '/ai-chat', () => {}).then(
          (client) => void clients.push(client),
          () => void errors++,
        ),
      )
      await Promise.all(some)
    }
    const seconds = (performance.now() - began) / 1000
    await new Promise((resolve) => setTimeout(resolve, 2000))
    const after = await ask()
    const each = (key: 'residentBytes' | 'heapBytes') => ((after[key] - before[key]) / clients.length / 1024).toFixed(1)
    console.log(`idle: ${clients.length} connections, ${errors} errors, connected in ${seconds.toFixed(1)} s`)
    console.log(
      `idle: ${each('residentBytes')} KB resident and ${each('heapBytes')} KB heap each; ${mb(after.residentBytes)} MB resident in all`,
    )
    await new Promise((resolve) => setTimeout(resolve, 10_000))
    const quiet = await ask()
    const share = ((quiet.cpuMs - after.cpuMs) / 10_000) * 100
    console.log(`idle: 10 s of quiet: ${share.toFixed(1)} % of a core, event-loop delay ${delays(quiet)}`)
    for (const { socket } of clients) socket.destroy()
  })
}

async function streams(delayMs: number): Promise<void> {
  const words = Array.from({ length: WORDS }, (_, at) => `word${at}`).join(' ')
  await withServer({ SIMULATED_DELAY_MS: String(delayMs), RATE_LIMIT: '1000' }, async (port, ask) => {
    let chunks = 0
    let bytes = 0
    let ended = 0
    let failed = 0
    let allEnded: (() => void) | undefined
    const whenEnded = new Promise<void>((resolve) => {
      allEnded = resolve
    })
    const clients = await Promise.all(
      Array.from({ length: STREAMS }, () =>
        connectLight(port, '/chat', (text) => {
          if (text.includes('"type":"ai_stream_chunk"')) {
            chunks++
            bytes += text.length
          } else if (text.includes('"type":"ai_stream_end"')) {
            if (!text.includes('"outcome":"completed"')) failed++
            if (++ended === STREAMS) allEnded?.()
          } else if (text.includes('"type":"error"')) failed++
        }),
      ),
    )
    const before = await ask()
    const began = performance.now()
    for (const client of clients) client.send(JSON.stringify({ type: 'user_message', content: words }))
    await whenEnded
    const seconds = (performance.now() - began) / 1000
    const after = await ask()
    const tokens = STREAMS * (WORDS + 1)
    const cpu = (after.cpuMs - before.cpuMs) / 1000
    console.log(
      `streams: ${STREAMS} at once, ${WORDS} words each, ${delayMs} ms a word: ${failed} failed; ${Math.round(tokens / seconds).toLocaleString('en')} tokens/s delivered, ` +
        `${Math.round(tokens / cpu).toLocaleString('en')} per CPU second of the server, in ${chunks.toLocaleString('en')} frames (${mb(bytes)} MB); event-loop delay ${delays(after)}`,
    )
    for (const { socket } of clients) socket.destroy()
  })
}

function mb(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(0)
}

function delays({ delayP50, delayP99, delayMax }: ServerFigures): string {
  return `p50 ${delayP50.toFixed(1)} ms, p99 ${delayP99.toFixed(1)} ms, max ${delayMax.toFixed(1)} ms`
}

const wanted = process.argv.slice(2)
if (wanted.length === 0 || wanted.includes('idle')) await idle()
if (wanted.length === 0 || wanted.includes('streams')) {
  await streams(20)
  await streams(0)
}
