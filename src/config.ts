import type { z } from 'zod'
import { VARIABLES, type Variable } from './config-variables.ts'

/** A wrong or contradictory setting: one line that names the variable, what it got and what it takes. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ConfigError'
  }
}

/** Names that the design fixes for later versions: set today, they would be ignored in silence, so they are refused. */
const LATER: Readonly<Record<string, (value: string) => boolean>> = {
  ACTOR_HOST: (value) => value !== 'interpreted',
}

type Values = { readonly [K in keyof typeof VARIABLES]: z.output<(typeof VARIABLES)[K]['schema']> }

/** Every setting with its final value, by the name of its environment variable. */
export interface Config extends Omit<Values, 'MODEL_PROVIDER' | 'RATE_BURST'> {
  readonly MODEL_PROVIDER: 'openai' | 'simulated'
  readonly RATE_BURST: number
}

/** Reads the settings from an environment; names that it lacks get their defaults. Throws {@link ConfigError}. */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  for (const [name, isLater] of Object.entries(LATER)) {
    const got = env[name]
    if (got !== undefined && got !== '' && isLater(got)) {
      throw new ConfigError(`${name} is not supported by this version; unset it`)
    }
  }
  const values = Object.fromEntries(
    Object.entries(VARIABLES).map(([name, definition]) => [name, read(name, definition, env)]),
  )
  // The schemas above made each value; only the assembly of them into one record is beyond what TypeScript follows.
  const config = values as unknown as Values
  if (
    config.MODEL_PROVIDER === 'openai' &&
    config.OPENAI_API_KEY === undefined &&
    config.OPENAI_BASE_URL === undefined
  ) {
    throw new ConfigError(
      'MODEL_PROVIDER is openai, which takes an OPENAI_API_KEY or an OPENAI_BASE_URL; both are unset',
    )
  }
  const { PORT, ADMIN_PORT, WORKERS, REDIS_URL, MAX_CONNECTIONS } = config
  if (PORT === ADMIN_PORT && PORT !== 0)
    throw new ConfigError(`PORT and ADMIN_PORT are both ${PORT}, but take two ports, or 0 (any free one)`)
  if (WORKERS > 1 && REDIS_URL === undefined)
    throw new ConfigError(`WORKERS is ${WORKERS}, which takes a REDIS_URL that the workers share; it is unset`)
  if (MAX_CONNECTIONS !== undefined && MAX_CONNECTIONS < WORKERS)
    throw new ConfigError(
      `MAX_CONNECTIONS is ${MAX_CONNECTIONS}, but takes one for each of ${WORKERS} WORKERS at least`,
    )
  const hasModel = config.OPENAI_API_KEY !== undefined || config.OPENAI_BASE_URL !== undefined
  return Object.freeze({
    ...config,
    MODEL_PROVIDER: config.MODEL_PROVIDER ?? (hasModel ? 'openai' : 'simulated'),
    RATE_BURST: config.RATE_BURST ?? config.RATE_LIMIT,
  })
}

function read(
  name: string,
  definition: Variable<z.ZodType>,
  env: Readonly<Record<string, string | undefined>>,
): unknown {
  const set = env[name]
  // An empty variable is an unset one, as compose files write them, except where an empty text has a meaning.
  const text = set === undefined || (set === '' && name !== 'SYSTEM_PROMPT') ? definition.fallback : set
  const result = definition.schema.safeParse(text)
  if (result.success) return result.data
  const got = definition.secret === true ? 'a wrong value' : JSON.stringify(text)
  throw new ConfigError(`${name} is ${got}, but takes ${definition.takes}`)
}
