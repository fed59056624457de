import { randomBytes } from 'node:crypto'
import { type BlockList, isIP } from 'node:net'

/** The kinds of endpoint: the first segment of the path. */
export type Route = 'ai-chat' | 'chat' | 'room' | 'ws'

/** What an upgrade request said, copied: the transport's own object is gone when its handler returns. */
export interface UpgradeRequest {
  readonly route: Route
  /** The channel's name; empty on `/ws`. */
  readonly channel: string
  /** The name was made just now, so that nothing can be in its log. */
  readonly isNew: boolean
  readonly query: URLSearchParams
  /** By lower-case name; repeated ones are joined by a comma. */
  readonly headers: Readonly<Record<string, string>>
  /** The client's address, by `X-Forwarded-For` where a trusted proxy says so. */
  readonly ip: string
}

const CHANNEL_NAME = /^[A-Za-z0-9._~-]{1,128}$/

/** Finds route and channel of a path. A number is the HTTP status of the refusal. SPEC.md L1 and L2. */
export function parsePath(path: string): { route: Route; channel: string; isNew: boolean } | 400 | 404 {
  const [, route, name, ...rest] = path.split('/')
  if (rest.length > 0) return 404
  switch (route) {
    case 'ws':
      return name === undefined || name === '' ? { route, channel: '', isNew: true } : 404
    case 'room':
      if (name === undefined || name === '') return 404
      return CHANNEL_NAME.test(name) ? { route, channel: name, isNew: false } : 400
    case 'ai-chat':
    case 'chat':
      if (name === undefined || name === '')
        return { route, channel: randomBytes(16).toString('base64url'), isNew: true }
      return CHANNEL_NAME.test(name) ? { route, channel: name, isNew: false } : 400
    default:
      return 404
  }
}

/** Whether a page of this origin may connect. `undefined` is what programs send that are no browsers. SPEC.md L3. */
export function isOriginAllowed(
  origin: string | undefined,
  host: string | undefined,
  allowed: readonly string[] | undefined,
): boolean {
  if (origin === undefined || origin === '') return true
  if (allowed !== undefined) return allowed.includes('*') || allowed.includes(origin.toLowerCase())
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase()
}

/**
 * The client's address: the connection's own, unless that is a trusted proxy's; then the last address in
 * `X-Forwarded-For` that is not a trusted proxy's. What stands further left was written by the client itself.
 */
export function clientAddress(remote: string, forwardedFor: string | undefined, trusted: BlockList): string {
  let address = canonical(remote)
  const hops = forwardedFor === undefined ? [] : forwardedFor.split(',')
  while (hops.length > 0 && isTrusted(address, trusted)) {
    const hop = canonical(hops.pop()?.trim() ?? '')
    if (isIP(hop) === 0) break
    address = hop
  }
  return address
}

function isTrusted(address: string, trusted: BlockList): boolean {
  const family = isIP(address)
  return family !== 0 && trusted.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** One spelling per address: IPv4 mapped into IPv6 (any spelling) as IPv4, IPv6 compressed, no brackets or port. */
function canonical(address: string): string {
  const bare = address.replace(/^\[(.*)\](?::\d+)?$/, '$1').replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, '$1')
  if (isIP(bare) !== 6 || bare.includes('%')) return bare
  const spelled = new URL(`http://[${bare}]`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(spelled)
  if (mapped === null) return spelled
  const [high, low] = [Number.parseInt(mapped[1] ?? '', 16), Number.parseInt(mapped[2] ?? '', 16)]
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}
