/** What SPEC.md L2 allows as a channel's name. */
const CHANNEL_NAME = /^[A-Za-z0-9._~-]{1,128}$/

/** The channel that a URL's hash names (`#c=<name>`); undefined where it names none, or none that is allowed. */
export function channelOfHash(hash: string): string | undefined {
  const name = new URLSearchParams(hash.replace(/^#/, '')).get('c')
  return name !== null && CHANNEL_NAME.test(name) ? name : undefined
}

/** The hash that leads to a channel. */
export function hashOfChannel(name: string): string {
  return `#c=${name}`
}
