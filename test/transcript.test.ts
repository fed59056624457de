import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Client, connect } from './support/client.ts'
import { startServer } from './support/server.ts'

/** Fields whose values differ from run to run. What stands for one of them in the README stands for it throughout. */
const NAMES = new Set(['connection_id', 'client_id', 'epoch', 'turn_id', 'conversation_id', 'regenerates'])

type Line = { readonly kind: 'connect' | '>' | '<'; readonly text: string }

/** The lines of all ```wire blocks, which are one story. */
function readTranscript(): Line[] {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const blocks = [...readme.matchAll(/^```wire\n(.*?)^```$/gms)].map((match) => match[1] ?? '')
  return blocks.flatMap((block) =>
    block
      .trimEnd()
      .split('\n')
      .map((line) => {
        const match = /^(connect|>|<) (.+)$/.exec(line)
        if (match === null) throw new Error(`not a line of a transcript: ${line}`)
        return { kind: match[1] as Line['kind'], text: match[2] ?? '' }
      }),
  )
}

/** Replaces real names by the README's, learning them from frames that stand for the same. */
function createNaming() {
  const told = new Map<string, string>()
  return {
    /** The real frame as the README would write it. */
    name(real: unknown, written: unknown): unknown {
      if (Array.isArray(real))
        return real.map((item, at) => this.name(item, Array.isArray(written) ? written[at] : undefined))
      if (typeof real !== 'object' || real === null) return real
      const model = new Map(Object.entries(typeof written === 'object' && written !== null ? written : {}))
      return Object.fromEntries(
        Object.entries(real).map(([field, value]) => {
          if (!NAMES.has(field)) return [field, this.name(value, model.get(field))]
          const name = model.get(field)
          const isNew = !told.has(value) && ![...told.values()].includes(String(name))
          if (isNew && typeof name === 'string') told.set(value, name)
          return [field, told.get(value) ?? `${value} (which has no name)`]
        }),
      )
    },
    real(name: string): string {
      for (const [real, known] of told) if (known === name) return real
      throw new Error(`${name} was not told before`)
    },
  }
}

test("G1 G2 G3 L6 R1 R2 the README's transcripts are what a real server says", async () => {
  // A word at a time, as the README shows it; the limits are the defaults.
  const server = await startServer({ SIMULATED_DELAY_MS: '40', RATE_LIMIT: '' })
  const naming = createNaming()
  let client: Client | undefined
  let seen = 0
  const lines = readTranscript()
  expect(lines.filter(({ kind }) => kind === 'connect')).toHaveLength(5)
  for (const { kind, text } of lines) {
    if (kind === 'connect') {
      await client?.close()
      const { pathname, searchParams } = new URL(text)
      const epoch = searchParams.get('epoch')
      if (epoch !== null) searchParams.set('epoch', naming.real(epoch))
      client = await connect(`${server.url}${pathname}?${searchParams}`)
      seen = 0
    } else if (kind === '>') client?.ws.send(text)
    else {
      const written = JSON.parse(text)
      while (client !== undefined && client.frames.length === seen) await client.next(written.type)
      // As text: the order of the fields is the server's, too.
      expect(JSON.stringify(naming.name(client?.frames[seen++], written))).toBe(text)
    }
  }
})
