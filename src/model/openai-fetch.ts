import type { Clock } from '../actor/clock.ts'

/** How long a stream that has said `[DONE]` may take to end, in ms, before its socket is given up. */
const ENDING_MS = 1000

/**
 * A fetch for the SDK, which drops the body at `[DONE]`. The last bytes of the response mostly come just after it, so
 * each answer would cost a socket, and the next one a TLS handshake before its first token. Here a body that is let go
 * without an abort is read to its end, so that the socket can be used again.
 */
export function createReusingFetch(clock: Clock): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, init)
    if (!response.ok || response.body === null) return response
    const { status, headers } = response
    return new Response(endable(response.body, clock), { status, headers })
  }
}

function endable(body: ReadableStream<Uint8Array>, clock: Clock): ReadableStream<Uint8Array> {
  const reader = body.getReader()

  async function readToEnd(): Promise<void> {
    const timer = clock.setTimeout(giveUp, ENDING_MS)
    try {
      while (!(await reader.read()).done);
    } catch {
      // The answer is complete; a socket that breaks now is only not used again.
    } finally {
      clock.clearTimeout(timer)
    }
  }

  function giveUp(): void {
    // As above: nothing is lost with it.
    reader.cancel().catch(() => {})
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      cancel: () => void readToEnd(),
    },
    { highWaterMark: 0 },
  )
}
