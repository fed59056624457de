import type { Logger } from 'pino'
import type { Clock } from '../actor/clock.ts'
import type { Config } from '../config.ts'
import { withBreaker } from './breaker.ts'
import type { ChatModel } from './chat-model.ts'

/** The OpenAI-compatible model that the configuration names, behind its circuit breaker; undefined where it names none. */
export async function createConfiguredModel(
  config: Config,
  clock: Clock,
  logger: Logger,
): Promise<ChatModel | undefined> {
  if (config.MODEL_PROVIDER === 'simulated') return undefined
  // Loaded where it is used alone: the SDK is the dearest import of all.
  const { createOpenAiModel } = await import('./openai-model.ts')
  const model = createOpenAiModel({
    clock,
    apiKey: config.OPENAI_API_KEY,
    baseUrl: config.OPENAI_BASE_URL,
    model: config.MODEL,
    firstTokenTimeoutMs: config.LLM_FIRST_TOKEN_TIMEOUT_MS,
    idleTimeoutMs: config.LLM_IDLE_TIMEOUT_MS,
  })
  return withBreaker(model, {
    clock,
    onError: (_, error) => logger.error({ err: error }, 'the circuit breaker failed by its own fault'),
    onTransition: (_, event, value) => logger.debug({ event: event.type, upstream: value }, 'circuit breaker'),
  })
}
