/**
 * Every way in which the server closes a connection, by name. `again` tells a client whether to reconnect by itself.
 * The table in SPEC.md is generated from this one.
 */
export const CLOSES = {
  done: { code: 1000, reason: 'done', again: false, when: 'Either side has finished.' },
  draining: {
    code: 1001,
    reason: 'the server is going away; resume',
    again: true,
    when: 'The server drains. Resume by position, after the `reconnect_after_ms` of the `draining` frame.',
  },
  binary: { code: 1003, reason: 'only text frames are understood', again: false, when: 'A binary message came.' },
  tooManyFromIp: {
    code: 1008,
    reason: 'too many connections from this address',
    again: false,
    when: '`MAX_CONNECTIONS_PER_IP` is reached.',
  },
  tooManyOfPrincipal: {
    code: 1008,
    reason: 'too many connections of this user',
    again: false,
    when: '`MAX_CONNECTIONS_PER_PRINCIPAL` is reached.',
  },
  notAllowed: { code: 1008, reason: 'not allowed in this channel', again: false, when: '`authorize` said no.' },
  tooEarly: {
    code: 1008,
    reason: 'too many frames before the welcome',
    again: false,
    when: 'More than 16 frames or 64 KB came before the `welcome`.',
  },
  tooBig: {
    code: 1009,
    reason: 'message too big',
    again: false,
    when: 'A message was longer than `MAX_MESSAGE_BYTES`.',
  },
  fault: {
    code: 1011,
    reason: 'a fault of the server',
    again: true,
    when: "The connection's own actor failed, or its channel could not be read.",
  },
  unread: {
    code: 1013,
    reason: 'the conversation cannot be read at the moment; try again later',
    again: true,
    when: 'The log did not answer in time: its Redis is away.',
  },
  full: {
    code: 1013,
    reason: 'the server is full; try again later',
    again: true,
    when: '`MAX_CONNECTIONS` is reached.',
  },
  slowReader: {
    code: 1013,
    reason: 'reader too slow; resume later',
    again: true,
    when: 'A parked reader took nothing for `CONGESTED_LIMIT_MS`. Its position stays good.',
  },
  signIn: {
    code: 4401,
    reason: 'sign in again',
    again: false,
    when: '`authenticate` refused the request, or the token expired.',
  },
  heartbeat: {
    code: 4408,
    reason: 'nothing heard; heartbeat timeout',
    again: true,
    when: 'A WebSocket ping stayed without any answer for `HEARTBEAT_TIMEOUT_MS`.',
  },
  abusive: {
    code: 4429,
    reason: 'rate limit exceeded too often',
    again: false,
    when: 'More than `RATE_STRIKES` frames were refused for their rate within a minute, or more than `FREE_RATE_LIMIT` free ones came within a second.',
  },
} as const satisfies Record<string, { code: number; reason: string; again: boolean; when: string }>

/** The name of a row of {@link CLOSES}. */
export type CloseName = keyof typeof CLOSES
