import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A file of the pages, ready to be sent. */
export interface Page {
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: Buffer
}

/** The pages that the server shows. */
export interface Pages {
  /** By the path of a URL, such as `/` or `/assets/chat-3f2a.js`. */
  find(path: string): Page | undefined
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.ico': 'image/x-icon',
  '.png': 'image/png',
  '.webmanifest': 'application/manifest+json',
}

// Only what the pages themselves brought runs in them: a model's answer cannot load, frame, submit or execute anything.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "font-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const YEAR_S = 31_536_000

/**
 * Reads the built pages into memory; they are a few files of some tens of KB. Where they were not built (a checkout
 * without its development tools) the start page says so.
 */
export function readPages(directory = builtPages()): Pages {
  const pages = new Map<string, Page>()
  if (statSync(directory, { throwIfNoEntry: false }) !== undefined) {
    for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
      const file = join(directory, name)
      if (statSync(file).isFile()) pages.set(`/${name.replaceAll('\\', '/')}`, page(name, readFileSync(file)))
    }
  }
  const start = pages.get('/index.html') ?? page('index.html', Buffer.from('The pages are not built: npm run build\n'))
  pages.set('/', start)
  return { find: (path) => pages.get(path) }
}

function page(name: string, body: Buffer): Page {
  // Vite puts a hash of the content into the names of what it bundles, so those may be kept for ever.
  const isHashed = name.startsWith('assets')
  return {
    body,
    headers: [
      ['content-type', TYPES[extname(name)] ?? 'application/octet-stream'],
      ['cache-control', isHashed ? `public, max-age=${YEAR_S}, immutable` : 'no-cache'],
      ['content-security-policy', POLICY],
      ['x-content-type-options', 'nosniff'],
      ['referrer-policy', 'no-referrer'],
    ],
  }
}

/** Where the built pages are: `dist/web`, seen from `src/transport/` and from `dist/src/transport/` alike. */
function builtPages(): string {
  const besideDist = fileURLToPath(new URL('../../web', import.meta.url))
  return existsSync(besideDist) ? besideDist : fileURLToPath(new URL('../../dist/web', import.meta.url))
}
