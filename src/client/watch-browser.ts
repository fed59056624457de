/** What a browser tells its pages with. This file is compiled without the browser's types, for Node.js as well. */
interface Target {
  addEventListener(type: string, listener: () => void, options: { signal: AbortSignal }): void
}

/**
 * Tells when the browser's network goes and comes, and when a page goes out of sight or is looked at again: a device that wakes up has lost
 * its connection more often than not, and its timers slept with it. Answers what ends it. Does nothing in Node.js.
 */
export function watchBrowser(wake: () => void, offline: () => void): () => void {
  const end = new AbortController()
  const window: object = globalThis
  const document = 'document' in window ? window.document : undefined
  const watch = (target: unknown, type: string, listener: () => void) => {
    if (isTarget(target)) target.addEventListener(type, listener, { signal: end.signal })
  }
  watch(window, 'online', wake)
  watch(window, 'offline', offline)
  // A page that comes back out of the browser's cache.
  watch(window, 'pageshow', wake)
  watch(document, 'visibilitychange', wake)
  return () => end.abort()
}

function isTarget(value: unknown): value is Target {
  return typeof value === 'object' && value !== null && 'addEventListener' in value
}
