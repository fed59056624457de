import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer, UpstreamRequest } from './upstream-answer.ts'

/** How one answer goes. What it throws ends the test process: a script has no business failing. */
export type Script = (answer: Answer, request: UpstreamRequest) => void | Promise<void>

/** Where a fault comes: after so many words of `text`, or before the first one (0). */
interface Fault {
  readonly after?: number
  readonly text?: string
}

const SOME_WORDS = 'one two three four five six seven eight'

/** Repeats the user's last message word by word: the words joined are the message exactly. */
export function echo(how: { readonly delayMs?: number } = {}): Script {
  return (answer, request) => {
    const asked = request.body.messages.findLast((message) => message.role === 'user')
    return words(asked?.content ?? '', how)(answer, request)
  }
}

/** Says a text word by word, with `delayMs` (0) before each word, and finishes. */
export function words(text: string, how: { readonly delayMs?: number } = {}): Script {
  return async (answer) => {
    await sayWords(answer, text, Number.POSITIVE_INFINITY, how.delayMs)
    answer.finish()
  }
}

/** Reasons first, in words, then says a text. */
export function reasoned(
  reasoning: string,
  text: string,
  field: 'reasoning_content' | 'reasoning' = 'reasoning_content',
): Script {
  return async (answer) => {
    for (const word of splitWords(reasoning)) answer.reason(word, field)
    await sayWords(answer, text)
    answer.finish()
  }
}

/** Says as many chunks of one text as asked, as fast as the client takes them. */
export function flood(chunks: number, text = 'word '): Script {
  return async (answer) => {
    for (let said = 0; said < chunks; said++) {
      answer.say(text)
      if (said % 64 === 0 && !(await answer.flushed())) return
    }
    answer.finish()
  }
}

/** One chunk of this many characters. */
export function huge(characters: number): Script {
  return (answer) => {
    answer.say('x'.repeat(characters))
    answer.finish()
  }
}

/** Ends the response in good order, but without finish reason and `[DONE]`. */
export function cutShort({ after = 2, text }: Fault = {}): Script {
  return async (answer) => {
    await sayWords(answer, text, after)
    answer.end()
  }
}

/** Says no more; with `after: 0` the headers are all that ever comes. */
export function stall({ after = 0, text }: Fault = {}): Script {
  return async (answer) => {
    answer.open()
    await sayWords(answer, text, after)
  }
}

/** Takes the request and never answers, not even with headers. */
export function silence(): Script {
  return () => {}
}

/** Resets the TCP connection in mid-stream; `beforeHeaders` at once. */
export function reset({
  after = 2,
  text,
  beforeHeaders = false,
}: Fault & { readonly beforeHeaders?: boolean } = {}): Script {
  return async (answer) => {
    if (!beforeHeaders) {
      answer.open()
      await sayWords(answer, text, after)
      // A reset throws away what the client has not read yet: give the words a moment to arrive.
      await sleep(20)
    }
    answer.reset()
  }
}

/** Answers with a status, such as 401 or 500; 429 with `headers: { 'retry-after': '2' }`. */
export function status(
  code: number,
  how: { readonly headers?: Record<string, string>; readonly body?: string } = {},
): Script {
  return (answer) => answer.refuse(code, how)
}

/** Sends an event that is no JSON, and goes on as if nothing were wrong. */
export function badJson({ after = 2, text }: Fault = {}): Script {
  return async (answer) => {
    await sayWords(answer, text, after)
    answer.raw('data: {"choices":[{"delta":{"content":\n\n')
    answer.finish()
  }
}

/** Sends one event with this JSON, whatever it is, and finishes. */
export function misshapen(json: unknown, { after = 2, text }: Fault = {}): Script {
  return async (answer) => {
    await sayWords(answer, text, after)
    answer.chunk(json)
    answer.finish()
  }
}

/** Sends an error object in the stream and ends it. */
export function errorInStream(error: unknown, { after = 2, text }: Fault = {}): Script {
  return async (answer) => {
    await sayWords(answer, text, after)
    answer.chunk({ error })
    answer.end()
  }
}

/** Says a text in pieces of so many bytes, which end in the middle of characters and of lines. */
export function bytewise(text: string, bytes = 1): Script {
  return async (answer) => {
    const stream = [
      ...splitWords(text).map(delta),
      '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
      '[DONE]',
    ]
    const all = Buffer.from(stream.map((data) => `data: ${data}\n\n`).join(''))
    for (let at = 0; at < all.length; at += bytes) {
      answer.raw(all.subarray(at, at + bytes))
      if (!(await answer.flushed())) return
      await new Promise(setImmediate)
    }
    answer.end()
  }
}

async function sayWords(
  answer: Answer,
  text = SOME_WORDS,
  upTo = Number.POSITIVE_INFINITY,
  delayMs = 0,
): Promise<void> {
  for (const word of splitWords(text).slice(0, upTo)) {
    if (delayMs > 0) await sleep(delayMs)
    answer.say(word)
    if (!(await answer.flushed())) return
  }
}

/** Words with the space that follows them, so that they join to the text again. */
function splitWords(text: string): string[] {
  return text.split(/(?<= )/u).filter((word) => word !== '')
}

function delta(content: string): string {
  return JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })
}
