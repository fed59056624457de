import { readFileSync } from 'node:fs'
import { VARIABLES } from './config-variables.ts'

/** The text of `--version`. */
export function versionText(): string {
  // From `src/` and from `dist/src/`, the package's own file is one or two levels up.
  for (const up of ['../package.json', '../../package.json']) {
    const text = readIfThere(new URL(up, import.meta.url))
    if (text !== undefined) return `statewire ${(JSON.parse(text) as { version: string }).version}\n`
  }
  throw new Error('package.json is missing')
}

/** The text of `--help`. */
export function helpText(): string {
  const width = Math.max(...Object.keys(VARIABLES).map(({ length }) => length)) + 1
  const rows = Object.entries(VARIABLES).map(([name, { what, fallback, fallbackText }]) => {
    const byDefault = fallbackText ?? (fallback === undefined || fallback === '' ? 'unset' : fallback)
    return `  ${name.padEnd(width)}${what.replaceAll('`', '')} [${byDefault.replaceAll('`', '')}]`
  })
  return `Usage: statewire [--help] [--version]
       statewire chat <url>    talks to a server at the terminal; see statewire chat --help

The WebSocket server for AI conversations in which every connection is a statechart.
It starts a server that is configured by environment variables (default in brackets):

${rows.join('\n')}
`
}

function readIfThere(url: URL): string | undefined {
  try {
    return readFileSync(url, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
