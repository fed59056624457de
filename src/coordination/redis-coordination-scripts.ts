import { script, timedScript } from '../log/redis-script.ts'

/** `now()`: the server's time in ms since 1970. All expiries are by this one clock, as the processes' own differ. */
const LUA_NOW = `
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
`

/** `isMine(nonce)`: whether the lease at KEYS[1], `<nonce> <token>`, is the one that was taken under the nonce; and its token. */
const LUA_MINE = `
local function isMine(nonce)
  local holder, token = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+)$')
  return holder == nonce, token
end
`

/**
 * Takes a lease and raises the channel's fence at once, so that the log refuses the holder before. A token is no less than
 * the time: a Redis that lost the last one in a failover, or everything, gives none twice.
 *
 * KEYS: lease, the log's meta. ARGV: nonce, lease's ms, ms for which a meta without a log is kept, nonce of a lease whose
 * release may still be on its way. Answers nothing where it is held, else the token and the fence before it (empty where
 * that is not known).
 */
export const LEASE = timedScript(`
${LUA_NOW}${LUA_MINE}
local nonce, lease, kept, released = unpack(ARGV)
if redis.call('EXISTS', KEYS[1]) == 1 and not isMine(released) then
  local mine, token = isMine(nonce)
  return mine and {token, ''} or {}
end
local before = redis.call('HGET', KEYS[2], 'fence') or ''
local token = string.format('%.0f', math.max((tonumber(before) or 0) + 1, now()))
redis.call('HSET', KEYS[2], 'fence', token)
if redis.call('HEXISTS', KEYS[2], 'epoch') == 0 then redis.call('PEXPIRE', KEYS[2], kept) end
redis.call('SET', KEYS[1], nonce .. ' ' .. token, 'PX', lease)
return {token, before}
`)

/** Renews a lease; answers 0 where it is gone. KEYS: lease. ARGV: nonce, lease's ms. */
export const RENEW = script(`
${LUA_MINE}
if not isMine(ARGV[1]) then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`)

/** Whether somebody holds a lease. KEYS: lease. */
export const HELD = script(`
return redis.call('EXISTS', KEYS[1])
`)

/** Ends a lease, where it is still this one. KEYS: lease. ARGV: nonce. */
export const RELEASE = script(`
${LUA_MINE}
if not isMine(ARGV[1]) then return 0 end
return redis.call('DEL', KEYS[1])
`)

/**
 * All that is done to a room, in one step: enters or renews members, lets members go, takes out the expired, tells who is
 * there. Whoever takes a member out is answered so, once; who comes back after that (its process was frozen) is, too.
 *
 * KEYS: members (by expiry), arrivals (the same by order of arrival), gone (taken out, and not come back yet), refilled
 * (when a renewal last had to enter somebody: Redis had lost who was there). ARGV: ms for which a member is there, ms for
 * which the keys are kept, ms for which the gone are, until when (by the server's clock) the expired may be taken out,
 * whether to list, whether this is a renewal, how many are entered or renewed, these, those who go.
 * Answers who left, who came back, who is there in order of arrival, the server's time, and when it was refilled or empty.
 * A Redis that was frozen finds everybody expired, and an old command before the renewals: that one must not take anybody out.
 */
export const ROOM = timedScript(`
${LUA_NOW}
local members, arrivals, gone, refilled = unpack(KEYS)
local ttl, kept, goneFor, sweepsUntil, lists, renews, count = unpack(ARGV, 1, 7)
local time = now()
local left, back, here = {}, {}, {}
local firstLeaving = 8 + tonumber(count)
for i = 8, firstLeaving - 1 do
  redis.call('ZADD', members, time + tonumber(ttl), ARGV[i])
  local isBack = redis.call('SREM', gone, ARGV[i]) == 1
  if isBack then back[#back + 1] = ARGV[i] end
  if not redis.call('ZSCORE', arrivals, ARGV[i]) then
    local last = redis.call('ZRANGE', arrivals, -1, -1, 'WITHSCORES')[2]
    redis.call('ZADD', arrivals, tonumber(last or 0) + 1, ARGV[i])
    if renews == '1' and not isBack then redis.call('SET', refilled, string.format('%.0f', time), 'PX', kept) end
  end
end
for i = firstLeaving, #ARGV do
  redis.call('ZREM', members, ARGV[i])
  redis.call('ZREM', arrivals, ARGV[i])
  if redis.call('SREM', gone, ARGV[i]) == 0 then left[#left + 1] = ARGV[i] end
end
if time <= tonumber(sweepsUntil) then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', members, '-inf', time)) do
    redis.call('ZREM', members, member)
    redis.call('ZREM', arrivals, member)
    redis.call('SADD', gone, member)
    redis.call('PEXPIRE', gone, goneFor)
    left[#left + 1] = member
  end
end
redis.call('PEXPIRE', members, kept)
redis.call('PEXPIRE', arrivals, kept)
if lists == '1' then
  for _, member in ipairs(redis.call('ZRANGE', arrivals, 0, -1)) do
    local expiry = redis.call('ZSCORE', members, member)
    if expiry and tonumber(expiry) > time then here[#here + 1] = member end
  end
end
return {left, back, here, time, redis.call('GET', refilled) or ''}
`)

/** Lets members expire at once, so that a process that stays takes them out and tells it. KEYS: members. ARGV: members. */
export const ABANDON = script(`
for i = 1, #ARGV do redis.call('ZADD', KEYS[1], 'XX', 0, ARGV[i]) end
return 1
`)

/**
 * `set(share)`: sets this process's own share of the counter at KEYS[1]. It stands as long as the process does; the key
 * itself is kept for longer, and said again before that is over.
 */
const LUA_SHARES = `
local places, alive, owner, kept = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local function set(share)
  if share > 0 then redis.call('HSET', places, owner, share) else redis.call('HDEL', places, owner) end
  redis.call('PEXPIRE', places, kept)
end
`

/** Takes one place. KEYS: places by process, processes by expiry. ARGV: process, ms for which the key is kept, limit. */
export const TAKE = timedScript(`
${LUA_NOW}${LUA_SHARES}
local time, taken, own = now(), 0, 0
local all = redis.call('HGETALL', places)
for i = 1, #all, 2 do
  local expiry = redis.call('ZSCORE', alive, all[i])
  if all[i] == owner then
    own = tonumber(all[i + 1])
  elseif expiry and tonumber(expiry) > time then
    taken = taken + tonumber(all[i + 1])
  else
    redis.call('HDEL', places, all[i])
  end
end
if taken + own >= tonumber(ARGV[3]) then return 0 end
set(own + 1)
return 1
`)

/** Gives one place back. KEYS and ARGV as for TAKE, without the limit. */
export const GIVE_BACK = timedScript(`
${LUA_SHARES}
set(tonumber(redis.call('HGET', places, owner) or 0) - 1)
return 1
`)

/** Says how many places a process really has. KEYS and ARGV as for TAKE, with the number in place of the limit. */
export const SHARE = timedScript(`
${LUA_SHARES}
set(tonumber(ARGV[3]))
return 1
`)

/**
 * Says that a process lives. KEYS: processes by expiry. ARGV: process, for how many ms; 0 where it ends. Answers how many
 * live, and whether it was one of them all the time: if not, its shares may have been taken away.
 */
export const ALIVE = script(`
${LUA_NOW}
local time = now()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time)
local isNew = redis.call('ZADD', KEYS[1], time + tonumber(ARGV[2]), ARGV[1])
if ARGV[2] == '0' then redis.call('ZREM', KEYS[1], ARGV[1]) end
return {redis.call('ZCARD', KEYS[1]), isNew}
`)
