import { LUA_COUNTED, LUA_EPOCHS, LUA_STORE, LUA_TTL, script, timedScript } from './redis-script.ts'

/**
 * Appends one entry: checks the fence, answers a repeat, decides the epoch, assigns head + 1, sets the times to live and,
 * where nothing is to be waited for, shows it and wakes the followers up.
 *
 * Answers `fenced`, `moved` (the holder of a lease would go on in another log than it knows, which lacks what it wrote, or
 * may lack it), or epoch, offset, and `stale` (with the head), `written`, `repeated` or `mine` (this very append had been
 * written, and its answer was lost).
 *
 * The epoch is the channel's own, but a new one where another server (or another life of this one) wrote last, as it may lack
 * what that one had shown: positions up to the head that it has are honoured on, and those above are not, whatever is
 * written there now. A new one, too, where the stream is gone, or a writer has seen more of it than there is: from these
 * nothing goes on. Where replicas confirm what is shown, what the other server had not shown yet is `unsettled`: readers
 * wait until it is confirmed anew.
 *
 * Where replicas confirm, each answer about what stands in the log comes with a write, if only of what is there: since 7.2,
 * Redis takes WAIT after a script that wrote nothing for one about the connection's last write, which may be none.
 */
export const APPEND = timedScript(`
${LUA_STORE}${LUA_EPOCHS}${LUA_TTL}${LUA_COUNTED}
local meta, log, ids, ended, folded = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local text, time, opens, ends, field, number, nonce, fence, seen, proposed, fresh, ttl, waits, publish, wake, judgedAt =
  unpack(ARGV)
local known = redis.call('HMGET', meta, 'epoch', 'head', 'fence', 'open', 'before', 'store', 'judged')
local epoch, head, open = known[1], tonumber(known[2] or 0), tonumber(known[4] or 0)

if fence ~= '' then
  if known[3] and tonumber(fence) < tonumber(known[3]) then return {'fenced'} end
  if known[3] ~= fence then redis.call('HSET', meta, 'fence', fence) end
end

local prior = epoch and redis.call('HGET', ids, field)
local first, last, at
if prior and number == '' then at = prior end
if prior and number ~= '' then
  first, last, at = string.match(prior, '^(%d+) (%S+) (%d+)$')
  if tonumber(number) > tonumber(last) then
    at = nil
  elseif tonumber(number) < tonumber(last) then
    local row = counted(log, first, tonumber(number))
    if row then at = string.match(row[1], '^%d+') end
  end
end
local function answer(offset, outcome)
  if waits == '1' then redis.call('HSET', meta, 'epoch', epoch) end
  return {epoch, offset, outcome}
end
if at then
  local row = redis.call('XRANGE', log, at .. '-0', at .. '-0')[1]
  return answer(tonumber(at), row and row[2][6] == nonce and 'mine' or 'repeated')
end

seen = tonumber(seen)
local before = known[5]
local isGone = head > 0 and redis.call('EXISTS', log) == 0
local isKnown = seen == 0 or epoch == proposed or (epoch and seen <= (goesOnFrom(before, proposed) or -1))

if fence ~= '' and seen > 0 then
  if not isKnown or seen > head or isGone then return {'moved'} end
end

if judgedAt ~= '' and epoch then
  local isOther = not isKnown
  local isBehind = seen <= head and tonumber(known[7] or 0) > tonumber(judgedAt)
  if isOther or isBehind then return answer(head, 'stale') end
end

local current = store()
local isMoved = known[6] ~= current
local isAhead = seen > head and epoch == proposed
if not epoch then
  redis.call('DEL', log, ids, ended, folded)
  epoch, before = proposed, false
  if seen > 0 then epoch, before = fresh, endAt(nil, proposed, 0) end
elseif isMoved or isGone or isAhead then
  local isWhole = isMoved and not isGone
  epoch, before = fresh, endAt(before, epoch, isWhole and head or 0)
  if isWhole and waits == '1' then redis.call('HSET', meta, 'unsettled', string.format('%.0f', head)) end
end
if isGone then
  redis.call('DEL', ids, ended, folded)
  redis.call('HDEL', meta, 'shown', 'judged', 'unsettled')
  head, open, first = 0, 0, nil
end

local wasOpen = open > 0
open = math.max(0, open + tonumber(opens))
head = head + 1
local offset = string.format('%.0f', head)
if number ~= '' then
  first = first or offset
  redis.call('HSET', ids, field, first .. ' ' .. number .. ' ' .. offset)
else
  redis.call('HSET', ids, field, offset)
end
redis.call('XADD', log, offset .. '-0', 't', time, 'e', text, 'n', nonce, 's', number ~= '' and first .. ':' .. number or '')
if ends == '1' then redis.call('ZADD', ended, time, offset) end
redis.call('HSET', meta, 'epoch', epoch, 'head', offset, 'open', open, 'time', time, 'store', current)
if before and before ~= known[5] then redis.call('HSET', meta, 'before', before) end
if judgedAt ~= '' then redis.call('HSET', meta, 'judged', offset) end
if open == 0 then
  keepFor(ttl)
elseif not wasOpen then
  for i = 1, #KEYS do redis.call('PERSIST', KEYS[i]) end
end
if waits == '0' then
  redis.call('HSET', meta, 'shown', offset)
  redis.call(publish, wake, epoch .. ' ' .. offset .. ' ' .. time .. ' ' .. text)
end
return {epoch, head, 'written'}
`)

/**
 * Shows what replicas have confirmed: entries up to an offset. The wake-up carries the entry where it is the only one.
 * Answers 0 where these are not there: another server has taken over since they were confirmed, and may not have them.
 */
export const SHOW = script(`
local epoch, offset, time, text, publish, wake = unpack(ARGV)
local known = redis.call('HMGET', KEYS[1], 'epoch', 'head', 'shown')
local upTo = tonumber(offset)
if known[1] ~= epoch or upTo > tonumber(known[2]) then return 0 end
local shown = tonumber(known[3] or 0)
if upTo <= shown then return 1 end
local place = string.format('%.0f', upTo)
redis.call('HSET', KEYS[1], 'shown', place)
if upTo > shown + 1 then time, text = '0', '' end
redis.call(publish, wake, epoch .. ' ' .. place .. ' ' .. time .. ' ' .. text)
return 1
`)

/**
 * Makes a channel that another server wrote last this one's, under a new epoch as an append would, so that what survived can
 * be confirmed and then shown.
 */
export const ADOPT = script(`
${LUA_STORE}${LUA_EPOCHS}
local known = redis.call('HMGET', KEYS[1], 'epoch', 'head', 'store', 'before')
local epoch, head, current = known[1], tonumber(known[2]), store()
if not epoch then return {'', 0} end
if known[3] ~= current then
  local before = endAt(known[4], epoch, redis.call('EXISTS', KEYS[2]) == 1 and head or 0)
  epoch = ARGV[1]
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'before', before, 'unsettled', known[2])
end
redis.call('HSET', KEYS[1], 'store', current)
return {epoch, head}
`)
