import { LUA_TTL, script } from './redis-script.ts'

/** Notes channels in an index, under the server's own time in ms: before a turn is opened, and while turns run. */
export const NOTE = script(`
local now = redis.call('TIME')
local time = now[1] * 1000 + math.floor(now[2] / 1000)
for i = 1, #ARGV do redis.call('ZADD', KEYS[1], time, ARGV[i]) end
return 1
`)

/**
 * The channels of an index that were not noted within the last ms of ARGV, each with how long ago it was noted, in ms, and
 * its score. One that was noted later than now has its score from a master whose clock was ahead.
 */
export const NOTED = script(`
local now = redis.call('TIME')
local time = now[1] * 1000 + math.floor(now[2] / 1000)
local found = {}
local function find(from, to)
  local rows = redis.call('ZRANGEBYSCORE', KEYS[1], from, to, 'WITHSCORES')
  for i = 1, #rows, 2 do found[#found + 1] = {rows[i], time - tonumber(rows[i + 1]), rows[i + 1]} end
end
find('-inf', time - tonumber(ARGV[1]))
find('(' .. time, '+inf')
return found
`)

/** Takes a channel out of an index, unless it has been noted again since it was looked at. */
export const UNNOTE = script(`
if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
`)

/** How a channel's turns stand, at one moment: how many are open, and when the oldest that is not folded ended, or empty. */
export const TURNS = script(`
local oldest = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
return {tonumber(redis.call('HGET', KEYS[1], 'open') or 0), oldest[2] or ''}
`)

/**
 * Folds a turn: the message stands in the place of its last chunk, and the chunks go. Answers 0 where that was done. What can
 * fail comes first: what a script did before it failed stays done.
 */
export const FOLD = script(`
local log, ended, folded = KEYS[2], KEYS[4], KEYS[5]
local epoch, stop, last, message = unpack(ARGV)
if redis.call('HGET', KEYS[1], 'epoch') ~= epoch then return 0 end
if not redis.call('ZSCORE', ended, stop) then return 0 end
if last ~= '' then redis.call('ZADD', folded, last, message) end
redis.call('ZREM', ended, stop)
if last == '' then return 0 end
for i = 5, #ARGV do redis.call('XDEL', log, ARGV[i] .. '-0') end
redis.call('XDEL', log, last .. '-0')
local ttl = redis.call('PTTL', log)
if ttl > 0 then redis.call('PEXPIRE', folded, ttl) end
return 1
`)

/**
 * Forgets a channel without open turns that nobody wrote to, or had attached, since a time. Answers 1 where it did, 0 where
 * there was none, and else, as text, since when the channel is idle.
 */
export const EXPIRE = script(`
local known = redis.call('HMGET', KEYS[1], 'epoch', 'open', 'time', 'kept')
if not known[1] then return 0 end
local since = math.max(tonumber(known[3]), tonumber(known[4] or 0))
if tonumber(known[2]) > 0 or since >= tonumber(ARGV[1]) then return string.format('%.0f', since) end
redis.call('DEL', unpack(KEYS))
return 1
`)

/** Keeps a channel that somebody has attached. */
export const KEEP = script(`
${LUA_TTL}
local known = redis.call('HMGET', KEYS[1], 'epoch', 'open')
if not known[1] then return 0 end
redis.call('HSET', KEYS[1], 'kept', ARGV[1])
if tonumber(known[2]) == 0 then keepFor(ARGV[2]) end
return 1
`)

/** Writes something, to find out whether that works. */
export const PROBE = script(`return redis.call('SET', KEYS[1], '', 'PX', ARGV[1])`)
