import { z } from 'zod'
import { host, integer, isHttpUrl, origins, port, proxies, redisUrl } from './config-schemas.ts'

/** One environment variable: how it is read, what it takes, and what README.md's table says of it. */
export interface Variable<S extends z.ZodType> {
  readonly schema: S
  /** In words: what it takes, with its unit. Also the end of the error for a wrong value. */
  readonly takes: string
  readonly fallback: string | undefined
  /** What README.md shows as the default, where it is not `fallback`. */
  readonly fallbackText?: string
  readonly what: string
  /** The value must not be shown in an error. */
  readonly secret?: boolean
}

const variable = <S extends z.ZodType>(definition: Variable<S>): Variable<S> => definition

function whole(what: string, unit: string, fallback: number, min: number, max: number) {
  return variable({
    schema: integer(min, max),
    takes: `a whole number of ${unit} from ${min} to ${max}`,
    fallback: String(fallback),
    what,
  })
}

function wholeOr(what: string, unit: string, fallbackText: string, min: number, max: number) {
  return variable({
    schema: integer(min, max).optional(),
    takes: `a whole number of ${unit} from ${min} to ${max}`,
    fallback: undefined,
    fallbackText,
    what,
  })
}

function limitOf(what: string, unit: string, max: number) {
  return wholeOr(what, unit, 'no limit', 1, max)
}

// Far above any use; a slip of the unit is caught.
const MAX_INTERVAL_MS = 3_600_000
const DAY_S = 86_400

/** Every setting, in the order of README.md's table. */
export const VARIABLES = {
  HOST: variable({
    schema: host,
    takes: 'an address or host name',
    fallback: '127.0.0.1',
    what: 'Where clients connect. Beyond loopback only if you say so.',
  }),
  PORT: variable({
    schema: port,
    takes: 'a port from 0 (any free one) to 65535',
    fallback: '8000',
    what: 'Where clients connect.',
  }),
  WORKERS: whole(
    'Processes that share `PORT`, under a supervisor; more than one takes a `REDIS_URL`.',
    'processes',
    1,
    1,
    128,
  ),
  ADMIN_HOST: variable({
    schema: host,
    takes: 'an address or host name',
    fallback: '127.0.0.1',
    what: 'Where `/healthz`, `/readyz` and `/metrics` answer.',
  }),
  ADMIN_PORT: variable({
    schema: port,
    takes: 'a port from 0 (any free one) to 65535',
    fallback: '8001',
    what: 'Where `/healthz`, `/readyz` and `/metrics` answer. Another one than `PORT`.',
  }),
  DATA_DIR: variable({
    schema: z.string().min(1),
    takes: 'a directory',
    fallback: './data',
    what: 'Where the log is kept (SQLite). One server at a time.',
  }),
  STORE: variable({
    schema: z.enum(['sqlite', 'memory']),
    takes: '`sqlite` or `memory`',
    fallback: 'sqlite',
    what: '`memory` forgets everything at the end of the process.',
  }),
  REDIS_URL: variable({
    schema: redisUrl.optional(),
    takes: 'redis://host:port[/db], redis+sentinel://host:port,host:port/master or redis+cluster://host:port,host:port',
    fallback: undefined,
    what: 'Keeps the log there, and lets any number of servers share it; `STORE` and `DATA_DIR` are then unused. `rediss` is TLS.',
    secret: true,
  }),
  REDIS_WAIT_REPLICAS: whole('Replicas that must have an entry before it is shown.', 'replicas', 0, 0, 10),
  MODEL_PROVIDER: variable({
    schema: z.enum(['openai', 'simulated']).optional(),
    takes: '`openai` or `simulated`',
    fallback: undefined,
    fallbackText: '`openai` if a key or base URL is set, else `simulated`',
    what: 'The model behind `/ai-chat`. `/chat` is always the simulated one.',
  }),
  OPENAI_API_KEY: variable({
    schema: z
      .string()
      .regex(/^[\x21-\x7e]+$/)
      .optional(),
    takes: 'a key: printable ASCII without spaces',
    fallback: undefined,
    what: 'The key for the model.',
    secret: true,
  }),
  OPENAI_BASE_URL: variable({
    schema: z.string().refine(isHttpUrl).optional(),
    secret: true,
    takes: 'an http(s) URL',
    fallback: undefined,
    fallbackText: "OpenAI's",
    what: 'Any OpenAI-compatible API: DeepSeek, vLLM, Ollama, …',
  }),
  MODEL: variable({
    schema: z.string().min(1),
    takes: 'a model name',
    fallback: 'gpt-4o-mini',
    what: 'The model to ask for.',
  }),
  SYSTEM_PROMPT: variable({
    schema: z.string(),
    takes: 'a text',
    fallback: 'You are a friendly AI assistant.',
    what: 'The first message of every context; empty for none.',
  }),
  SIMULATED_DELAY_MS: wholeOr('Delay of each word of the simulated model.', 'ms', '50 to 200, at random', 0, 60_000),
  MAX_CONNECTIONS: wholeOr(
    'Connections at once; more are closed with 1013. Of several `WORKERS`, each has an equal share.',
    'connections',
    'the open-files limit less 1,000, for each worker',
    1,
    10_000_000,
  ),
  MAX_CONNECTIONS_PER_IP: limitOf(
    'Connections at once from one address; more are closed with 1008.',
    'connections',
    10_000_000,
  ),
  MAX_CONNECTIONS_PER_PRINCIPAL: limitOf(
    'Connections at once of one signed-in principal; more are closed with 1008.',
    'connections',
    10_000_000,
  ),
  TRUSTED_PROXIES: variable({
    schema: proxies,
    takes: 'addresses or CIDR ranges, separated by commas',
    fallback: '',
    fallbackText: 'none',
    what: 'Whose `X-Forwarded-For` counts.',
  }),
  ALLOWED_ORIGINS: variable({
    schema: origins.optional(),
    takes: 'origins such as https://chat.example.com, separated by commas, or *',
    fallback: undefined,
    fallbackText: 'no `Origin` header, or one whose host is the `Host`',
    what: 'Pages that may connect.',
  }),
  ACCEPT_DEADLINE_MS: whole('How long admission, sign-in and joining may take.', 'ms', 10_000, 10, 600_000),
  CLOSE_DEADLINE_MS: whole(
    'How long a closing socket may take to read what is buffered for it.',
    'ms',
    5_000,
    10,
    60_000,
  ),
  MAX_MESSAGE_BYTES: whole('The longest message of a client.', 'bytes', 65_536, 256, 16_777_216),
  RATE_LIMIT: whole('Frames that a connection may send.', 'frames a second', 10, 1, 1_000_000),
  RATE_BURST: wholeOr('Frames that a connection may send at once.', 'frames', '`RATE_LIMIT`', 1, 1_000_000),
  RATE_LIMIT_PER_IP: limitOf(
    'Frames that all connections of one address may send together, at once as well as in a second.',
    'frames a second',
    1_000_000,
  ),
  RATE_LIMIT_PER_PRINCIPAL: limitOf('The same for one signed-in principal.', 'frames a second', 1_000_000),
  FREE_RATE_LIMIT: whole(
    'Frames that the rate leaves free: `stop`, `ping`, `pong`, WebSocket pings and pongs. More close with 4429.',
    'frames a second',
    1_000,
    10,
    1_000_000,
  ),
  RATE_STRIKES: whole(
    'Frames refused for their rate within a minute before the connection is closed with 4429.',
    'frames',
    100,
    1,
    1_000_000,
  ),
  HEARTBEAT_INTERVAL_MS: whole('Silence after which a ping is sent.', 'ms', 30_000, 50, MAX_INTERVAL_MS),
  HEARTBEAT_TIMEOUT_MS: whole('Silence after a ping that closes with 4408.', 'ms', 10_000, 50, MAX_INTERVAL_MS),
  CONGESTED_LIMIT_MS: whole(
    'How long a parked reader may take nothing before it is closed with 1013.',
    'ms',
    30_000,
    50,
    MAX_INTERVAL_MS,
  ),
  LLM_CONCURRENCY: whole('Requests to models at once.', 'requests', 1_000, 1, 1_000_000),
  LLM_QUEUE: whole('Turns that may wait for a request; more fail as `model_busy`.', 'turns', 10_000, 0, 1_000_000),
  LLM_ATTEMPTS: whole('Requests of one turn, retries before the first chunk included.', 'requests', 3, 1, 20),
  LLM_BACKOFF_MS: whole('Wait before the first retry; it doubles, up to 30 s, with jitter.', 'ms', 500, 1, 30_000),
  LLM_FIRST_TOKEN_TIMEOUT_MS: whole('How long a model may take to begin.', 'ms', 60_000, 10, 3_600_000),
  LLM_IDLE_TIMEOUT_MS: whole('How long a model may pause between tokens.', 'ms', 30_000, 10, 3_600_000),
  TURN_QUEUE: whole(
    'Turns of one channel that may wait behind the running one; more get `busy`.',
    'turns',
    8,
    0,
    10_000,
  ),
  CONTEXT_MESSAGES: whole("How many of a conversation's last messages the model gets.", 'messages', 50, 1, 100_000),
  HISTORY_MESSAGES: whole("How many of a conversation's last messages a joiner gets.", 'messages', 200, 1, 100_000),
  MAX_ANSWER_BYTES: whole('Where an answer is ended with `finish_reason` `length`.', 'bytes', 131_072, 256, 16_777_216),
  SESSION_TTL_S: whole(
    'How long a channel is kept after its last entry, while nobody is attached.',
    's',
    7_200,
    1,
    3_650 * DAY_S,
  ),
  RESUME_WINDOW_S: whole(
    "How long an ended turn's chunks are kept, for resuming inside it.",
    's',
    3_600,
    1,
    3_650 * DAY_S,
  ),
  DRAIN_MS: whole('How long running turns may go on after SIGTERM.', 'ms', 10_000, 0, 3_600_000),
  LOG_LEVEL: variable({
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    takes: '`trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`',
    fallback: 'info',
    what: 'What is logged: JSON lines on standard output, pretty on a terminal.',
  }),
} as const satisfies Record<string, Variable<z.ZodType>>
