import type { Usage } from '../protocol/entry.ts'

/** What one chunk of a streamed chat completion says; empty strings where it says nothing. */
export interface Chunk {
  readonly text: string
  readonly reasoning: string
  readonly finish_reason: string | undefined
  readonly usage: Usage | undefined
}

/**
 * Reads a chunk as OpenAI, DeepSeek, vLLM, Ollama and others send it: unknown fields pass, `choices` may be empty, a null
 * says nothing. Answers undefined where a field that matters has the wrong type. By hand, since it runs for every token.
 */
export function readChunk(chunk: unknown): Chunk | undefined {
  if (!isRecord(chunk)) return undefined
  const usage = readUsage(chunk.usage)
  const { choices } = chunk
  if (!Array.isArray(choices)) {
    // Some servers leave `choices` out of the chunk that carries the usage.
    return choices == null && usage !== undefined
      ? { text: '', reasoning: '', finish_reason: undefined, usage }
      : undefined
  }
  if (choices.length === 0) return { text: '', reasoning: '', finish_reason: undefined, usage }

  const choice: unknown = choices[0]
  if (!isRecord(choice)) return undefined
  const delta = choice.delta ?? {}
  if (!isRecord(delta)) return undefined
  const content = delta.content ?? ''
  // A refusal is what the model says to the user in place of an answer.
  const refusal = delta.refusal ?? ''
  const reasoning = delta.reasoning_content ?? delta.reasoning ?? ''
  const finish = choice.finish_reason ?? ''
  if (typeof content !== 'string' || typeof refusal !== 'string') return undefined
  if (typeof reasoning !== 'string' || typeof finish !== 'string') return undefined
  return { text: content + refusal, reasoning, finish_reason: finish === '' ? undefined : finish, usage }
}

/** Usage is worth having, but no reason to fail an answer: what is not understood counts as missing. */
function readUsage(usage: unknown): Usage | undefined {
  if (!isRecord(usage)) return undefined
  const { prompt_tokens, completion_tokens } = usage
  if (!isCount(prompt_tokens) || !isCount(completion_tokens)) return undefined
  const total_tokens = isCount(usage.total_tokens) ? usage.total_tokens : prompt_tokens + completion_tokens
  return { prompt_tokens, completion_tokens, total_tokens }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

/** Whether a value is an object with fields. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
