import { script, timedScript } from '../log/redis-script.ts'

/*
 * The keys of one queue, in the order in which every script takes them:
 * - `running` set: the tickets that were granted and not released.
 * - `waiting` sorted set: those that wait, in the order of service: `<number>:<ticket>` by tag; numbers rise with arrival.
 * - `numbers` hash: ticket → its number, while it waits.
 * - `arrivals` sorted set, all of score 0: `<lane>:<number>:<ticket>`, so that a lane's own can be listed.
 * - `lanes` sorted set: what tag the next request of a lane gets at least.
 * - `sizes` sorted set: how many of a lane wait.
 * - `state` hash: `tag`, where the service has come to; `number`, the last one given.
 * - `owners` sorted set: processes by the time at which they are dead, if they do not say that they live.
 *
 * A ticket is `<owner>:<count>:<lane>`. Of each lane one is served in turn: its requests get tags that are 1 apart, from
 * `tag` on (start-time fair queuing). `tag` becomes that of the one that is granted, and rises by a round's part at each
 * grant at least: the second request of a lane does not wait for ever behind those who come anew. Once nobody waits,
 * all begins anew.
 */

/**
 * `publish`, `channel`: how the owners of tickets are told: `<ticket>` is granted, `!<ticket>` is refused; a name is
 * `<channel><owner>`. ARGV of every script.
 */
const LUA_QUEUE = `
local running, waiting, numbers, arrivals, lanes, sizes, state, owners = unpack(KEYS)
local owner, concurrency, publish, channel = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function precise(number) return string.format('%.17g', number) end

local function ownerOf(ticket) return string.match(ticket, '^[^:]+') end

local function laneOf(ticket) return string.match(ticket, '[^:]+$') end

local function forget(ticket, number)
  local lane = laneOf(ticket)
  redis.call('HDEL', numbers, ticket)
  redis.call('ZREM', waiting, number .. ':' .. ticket)
  redis.call('ZREM', arrivals, lane .. ':' .. number .. ':' .. ticket)
  if tonumber(redis.call('ZINCRBY', sizes, -1, lane)) <= 0 then redis.call('ZREM', sizes, lane) end
end

local function beginAnewIfEmpty()
  if redis.call('ZCARD', waiting) > 0 then return end
  redis.call('DEL', lanes, sizes)
  redis.call('HDEL', state, 'tag')
end

-- Takes out one that waits: those of its lane that came after it move up, and its next one is not behind either.
local function cancel(ticket, number)
  local lane = laneOf(ticket)
  local tag = redis.call('ZSCORE', waiting, number .. ':' .. ticket)
  local after = redis.call('ZRANGEBYLEX', arrivals, '(' .. lane .. ':' .. number .. ':' .. ticket, '(' .. lane .. ';')
  for _, place in ipairs(after) do
    local member = string.sub(place, #lane + 2)
    local own = redis.call('ZSCORE', waiting, member)
    redis.call('ZADD', waiting, tag, member)
    tag = own
  end
  redis.call('ZADD', lanes, 'XX', tag, lane)
  forget(ticket, number)
  beginAnewIfEmpty()
end

-- The last one of the longest lane makes room for one whose lane is then no longer than that, and its owner is told.
local function makeRoomFor(lane)
  local longest, size = unpack(redis.call('ZREVRANGE', sizes, 0, 0, 'WITHSCORES'))
  if not longest or tonumber(redis.call('ZSCORE', sizes, lane) or 0) + 1 >= tonumber(size) then return false end
  local last = redis.call('ZREVRANGEBYLEX', arrivals, '(' .. longest .. ';', '(' .. longest .. ':', 'LIMIT', 0, 1)[1]
  local number, ticket = string.match(last, '^[^:]+:(%d+):(.+)$')
  cancel(ticket, number)
  redis.call(publish, channel .. ownerOf(ticket), '!' .. ticket)
  return true
end

-- Grants what is free, and answers the tickets of the process that asks; the others are told.
local function serve()
  local own = {}
  local free = concurrency - redis.call('SCARD', running)
  while free > 0 do
    local member, score = unpack(redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES'))
    if not member then break end
    local number, ticket = string.match(member, '^(%d+):(.+)$')
    forget(ticket, number)
    redis.call('SADD', running, ticket)
    local tag = tonumber(redis.call('HGET', state, 'tag') or 0)
    tag = math.max(tonumber(score), tag + 1 / math.max(1, redis.call('ZCARD', lanes)))
    redis.call('HSET', state, 'tag', precise(tag))
    redis.call('ZREMRANGEBYSCORE', lanes, '-inf', precise(tag))
    if ownerOf(ticket) == owner then own[#own + 1] = ticket
    else redis.call(publish, channel .. ownerOf(ticket), ticket) end
    free = free - 1
    beginAnewIfEmpty()
  end
  return own
end

local function drop(ticket)
  redis.call('SREM', running, ticket)
  local number = redis.call('HGET', numbers, ticket)
  if number then cancel(ticket, number) end
end

-- Takes out all that those have who are gone.
local function dropOf(isGone)
  for _, ticket in ipairs(redis.call('SMEMBERS', running)) do
    if isGone(ownerOf(ticket)) then redis.call('SREM', running, ticket) end
  end
  local members = redis.call('ZRANGE', waiting, 0, -1)
  -- From the last one on: none has to move up that goes itself.
  for i = #members, 1, -1 do
    local number, ticket = string.match(members[i], '^(%d+):(.+)$')
    if isGone(ownerOf(ticket)) then cancel(ticket, number) end
  end
end
`

/**
 * Asks for a place; a repetition finds what became of the first time. ARGV: owner, concurrency, publish, channel, ticket,
 * limit, the owner's ms. Answers the position: 0 where it runs, -1 where too many wait.
 */
export const REQUEST = timedScript(`
${LUA_QUEUE}
local ticket, limit, alive = unpack(ARGV, 5, 7)
redis.call('ZADD', owners, now() + tonumber(alive), owner)
local number = redis.call('HGET', numbers, ticket)
if number then return redis.call('ZRANK', waiting, number .. ':' .. ticket) + 1 end
if redis.call('SISMEMBER', running, ticket) == 1 then return 0 end
local waits = redis.call('ZCARD', waiting)
if redis.call('SCARD', running) < concurrency and waits == 0 then
  redis.call('SADD', running, ticket)
  return 0
end
local lane = laneOf(ticket)
if waits >= tonumber(limit) and not makeRoomFor(lane) then return -1 end
number = string.format('%016.0f', redis.call('HINCRBY', state, 'number', 1))
local tag = math.max(tonumber(redis.call('HGET', state, 'tag') or 0), tonumber(redis.call('ZSCORE', lanes, lane) or 0))
redis.call('ZADD', lanes, precise(tag + 1), lane)
redis.call('ZADD', waiting, precise(tag), number .. ':' .. ticket)
redis.call('ZADD', arrivals, 0, lane .. ':' .. number .. ':' .. ticket)
redis.call('ZINCRBY', sizes, 1, lane)
redis.call('HSET', numbers, ticket, number)
return redis.call('ZRANK', waiting, number .. ':' .. ticket) + 1
`)

/** Gives places back, and places in the line. ARGV: owner, concurrency, publish, channel, tickets. Answers the owner's granted ones. */
export const RELEASE = script(`
${LUA_QUEUE}
for i = 5, #ARGV do drop(ARGV[i]) end
return serve()
`)

/**
 * Says what runs, whether there is room or not. It may come when its owner has left, or was taken for dead, so that it too
 * makes him one who is taken out if he does not say more. ARGV: owner, concurrency, publish, channel, the owner's ms, tickets.
 */
export const CLAIM = timedScript(`
${LUA_QUEUE}
redis.call('ZADD', owners, now() + tonumber(ARGV[5]), owner)
for i = 6, #ARGV do
  drop(ARGV[i])
  redis.call('SADD', running, ARGV[i])
end
return 1
`)

/**
 * Says that the owner lives; takes out the dead, until a time by the server's clock (see ROOM); grants what is free.
 * ARGV: owner, concurrency, publish, channel, the owner's ms, until when, for how many ms the keys are kept, tickets that
 * wait. Answers the server's time, the owner's tickets that run, and the position of each that waits; 0 where it does not.
 */
export const RENEW_QUEUE = script(`
${LUA_QUEUE}
local alive, sweepsUntil, kept = unpack(ARGV, 5, 7)
local time = now()
redis.call('ZADD', owners, time + tonumber(alive), owner)
if time <= tonumber(sweepsUntil) and redis.call('ZREMRANGEBYSCORE', owners, '-inf', time) > 0 then
  dropOf(function(each) return not redis.call('ZSCORE', owners, each) end)
end
serve()
local own, positions = {}, {}
for _, ticket in ipairs(redis.call('SMEMBERS', running)) do
  if ownerOf(ticket) == owner then own[#own + 1] = ticket end
end
for i = 8, #ARGV do
  local number = redis.call('HGET', numbers, ARGV[i])
  positions[#positions + 1] = number and redis.call('ZRANK', waiting, number .. ':' .. ARGV[i]) + 1 or 0
end
for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], kept) end
return {time, own, positions}
`)

/** The owner goes: it has nothing any more. ARGV: owner, concurrency, publish, channel. */
export const LEAVE_QUEUE = script(`
${LUA_QUEUE}
redis.call('ZREM', owners, owner)
dropOf(function(each) return each == owner end)
serve()
return 1
`)
