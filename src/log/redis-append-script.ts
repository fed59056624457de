import { LUA_COUNTED, LUA_STORE, LUA_TTL, script, timedScript } from './redis-script.ts'

/**
 * Appends one entry: checks the fence, answers a repeat, decides the epoch, assigns head + 1, sets the times to live and,
 * where nothing is to be waited for, shows it and wakes the followers up.
 *
 * Answers `fenced`, `moved` (the holder of a lease would go on in another log than it knows, which lacks what it wrote, or
 * may lack it), or epoch, offset, and `stale` (with the head), `written`, `repeated` or `mine` (this very append had been
 * written, and its answer was lost).
 *
 * The epoch is the channel's own, but a new one where the writer has seen more than there is (as `nextEpoch` has it), where
 * the stream is gone, and, unless replicas confirm what is shown, where another server (or another life of this one) wrote
 * last: what is missing there may not have been seen by this writer.
 */
export const APPEND = timedScript(`
${LUA_STORE}${LUA_TTL}${LUA_COUNTED}
local meta, log, ids, ended, folded = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local text, time, opens, ends, field, number, nonce, fence, seen, proposed, fresh, ttl, waits, publish, wake, judgedAt =
  unpack(ARGV)
local known = redis.call('HMGET', meta, 'epoch', 'head', 'fence', 'open', 'replaced', 'store', 'judged')
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
if at then
  local row = redis.call('XRANGE', log, at .. '-0', at .. '-0')[1]
  return {epoch, tonumber(at), row and row[2][6] == nonce and 'mine' or 'repeated'}
end

if fence ~= '' and tonumber(seen) > 0 then
  local isWhole = epoch == proposed and tonumber(seen) <= head and redis.call('EXISTS', log) == 1
  if not isWhole then return {'moved'} end
end

if judgedAt ~= '' and epoch then
  local isOther = tonumber(seen) > 0 and epoch ~= proposed
  local isBehind = tonumber(seen) <= head and tonumber(known[7] or 0) > tonumber(judgedAt)
  if isOther or isBehind then return {epoch, head, 'stale'} end
end

local current = store()
local replaced = known[5]
if not epoch then
  redis.call('DEL', log, ids, ended, folded)
  epoch = proposed
  if tonumber(seen) > 0 then epoch, replaced = fresh, proposed end
elseif tonumber(seen) > head and proposed ~= replaced then
  epoch, replaced = fresh, proposed
elseif waits == '0' and known[6] ~= current then
  replaced, epoch = epoch, fresh
end
if head > 0 and redis.call('EXISTS', log) == 0 then
  redis.call('DEL', ids, ended, folded)
  redis.call('HDEL', meta, 'shown', 'judged')
  head, open, first = 0, 0, nil
  if epoch == known[1] then epoch, replaced = fresh, known[1] end
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
if replaced then redis.call('HSET', meta, 'replaced', replaced) end
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
 */
export const SHOW = script(`
local epoch, offset, time, text, publish, wake = unpack(ARGV)
local known = redis.call('HMGET', KEYS[1], 'epoch', 'head', 'shown')
if known[1] ~= epoch then return 0 end
local upTo = math.min(tonumber(offset), tonumber(known[2]))
local shown = tonumber(known[3] or 0)
if upTo <= shown then return 0 end
local place = string.format('%.0f', upTo)
redis.call('HSET', KEYS[1], 'shown', place)
if upTo > shown + 1 then time, text = '0', '' end
redis.call(publish, wake, epoch .. ' ' .. place .. ' ' .. time .. ' ' .. text)
return 1
`)

/** Makes a channel that another server wrote last this one's, so that what survived can be confirmed and then shown. */
export const ADOPT = script(`
${LUA_STORE}
local known = redis.call('HMGET', KEYS[1], 'epoch', 'head')
if not known[1] then return {'', 0} end
redis.call('HSET', KEYS[1], 'store', store())
return {known[1], tonumber(known[2])}
`)
