import { createHash } from 'node:crypto'
import type { ChainableCommander } from 'ioredis'
import type { RedisClient } from './redis-clients.ts'

/** A Lua script. All of them take the channel's keys (or an index's) and nothing else that Redis stores. */
export interface RedisScript {
  readonly lua: string
  readonly sha: string
  /** Whether it takes, as its last argument, a time after which it must not be run; 0 for none. See `Reach.notAfter`. */
  readonly isTimed: boolean
}

/** What a script takes beside its keys. */
export type ScriptArguments = readonly (string | number)[]

/** Makes a script of its text. */
export function script(lua: string): RedisScript {
  return { lua, sha: createHash('sha1').update(lua).digest('hex'), isTimed: false }
}

/**
 * Makes a script that does nothing after a time: what was sent, given up and told to have failed may be held up by the
 * network, or by a Redis that was frozen, and must not be done when nobody expects it any more. It fails with `LATE`.
 */
export function timedScript(lua: string): RedisScript {
  return { ...script(LUA_IN_TIME + lua), isTimed: true }
}

const LUA_IN_TIME = `
local notAfter = tonumber(table.remove(ARGV))
if notAfter > 0 then
  local time = redis.call('TIME')
  if time[1] * 1000 + time[2] / 1000 > notAfter then return redis.error_reply('LATE it came too late to be done') end
end
`

function argumentsOf({ isTimed }: RedisScript, args: ScriptArguments, notAfter: number): ScriptArguments {
  return isTimed ? [...args, notAfter] : args
}

/** Runs a script, by its hash where Redis knows it. Rejects as the client does. `notAfter` is for a timed one. */
export async function runScript(
  client: RedisClient,
  script: RedisScript,
  keys: readonly string[],
  args: ScriptArguments,
  notAfter = 0,
): Promise<unknown> {
  const all = [...keys, ...argumentsOf(script, args, notAfter)]
  try {
    return await client.evalsha(script.sha, keys.length, ...all)
  } catch (error) {
    if (!isUnknownScript(error)) throw error
    return client.eval(script.lua, keys.length, ...all)
  }
}

/** Puts a script into a pipeline: by its text where Redis may not know it. */
export function pipeScript(
  pipeline: ChainableCommander,
  script: RedisScript,
  keys: readonly string[],
  args: ScriptArguments,
  { isKnown, notAfter }: { isKnown: boolean; notAfter: number },
): void {
  const all = [...keys, ...argumentsOf(script, args, notAfter)]
  if (isKnown) pipeline.evalsha(script.sha, keys.length, ...all)
  else pipeline.eval(script.lua, keys.length, ...all)
}

/** Whether Redis has forgotten the script: it was restarted, or another server has taken over. */
export function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}

/** The replication id of the server that runs the script: another one after each restart and failover. Costs 2 µs. */
export const LUA_STORE = `
local function store()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end
`

/** How many epochs before the present one are remembered; positions of older ones begin anew. */
const EPOCHS = 8

/**
 * The epochs before the present one, newest first, each with the offset up to which its entries stand in this log, too:
 * `<epoch>@<offset> …`. (Redis knows its own replication in the same way.)
 *
 * `goesOnFrom(before, epoch)`: that offset, or nil where the epoch is not remembered.
 * `endAt(before, epoch, offset)`: the list after an epoch has ended. What it lost, those before it have lost, too.
 */
export const LUA_EPOCHS = `
local function goesOnFrom(before, epoch)
  for name, offset in string.gmatch(before or '', '(%S+)@(%d+)') do
    if name == epoch then return tonumber(offset) end
  end
end
local function endAt(before, epoch, offset)
  local list = {epoch .. '@' .. string.format('%.0f', offset)}
  for name, upTo in string.gmatch(before or '', '(%S+)@(%d+)') do
    local at = string.format('%.0f', math.min(tonumber(upTo), offset))
    if name ~= epoch and #list < ${EPOCHS} then list[#list + 1] = name .. '@' .. at end
  end
  return table.concat(list, ' ')
end
`

/** `keepFor(ttl)`: all keys of the channel live for that long, in ms. */
export const LUA_TTL = `
local function keepFor(ttl)
  for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], ttl) end
end
`

/**
 * `counted(log, first, number)`: the row of a number of the producer whose first entry is at `first` and, where that was
 * folded, of its next; and whether it is the number itself.
 */
export const LUA_COUNTED = `
local function counted(log, first, number)
  local from = first
  while true do
    local page = redis.call('XRANGE', log, from .. '-0', '+', 'COUNT', 200)
    for _, row in ipairs(page) do
      local owner, n = string.match(row[2][8], '^(%d+):(.+)$')
      if owner == first and tonumber(n) >= number then return row, tonumber(n) == number end
    end
    if #page < 200 then return nil, false end
    from = string.format('%.0f', tonumber(string.match(page[#page][1], '^%d+')) + 1)
  end
end
`
