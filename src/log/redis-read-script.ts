import { LUA_COUNTED, LUA_STORE, script } from './redis-script.ts'

/**
 * Reads a channel after an offset: epoch (empty without entries), the offset up to which it is shown, and the rows, each
 * offset, time, text, and the first offset of the folded turn that it belongs to, or empty. A page ends as `takePage` has it.
 *
 * `seen` is 1 where a follower of this deployment had got the position: a head below it means that the store was rolled
 * back, and the channel gets its new epoch now, not only with the next append. (A client's position proves nothing.)
 * Answers `unsettled` where replicas must confirm, and another server wrote last: what survived is to be confirmed first.
 */
export const READ = script(`
${LUA_STORE}
local meta, log, folded = KEYS[1], KEYS[2], KEYS[5]
local epoch, after, limit, bytes, seen, fresh, waits = unpack(ARGV)
after, limit, bytes = tonumber(after), tonumber(limit), tonumber(bytes)
local known = redis.call('HMGET', meta, 'epoch', 'head', 'shown', 'store')
if not known[1] then return {'', 0, {}} end
local head, shown = tonumber(known[2]), tonumber(known[3] or 0)
if waits == '1' and known[4] ~= store() then return {'unsettled'} end
if seen == '1' and epoch == known[1] and after > head then
  redis.call('HSET', meta, 'epoch', fresh, 'replaced', known[1])
  return {fresh, shown, {}}
end
if limit == 0 or after >= shown or (after > 0 and epoch ~= known[1]) then return {known[1], shown, {}} end

local folds, nextFold = {}, 1
if redis.call('EXISTS', folded) == 1 then
  folds = redis.call('ZRANGE', folded, '(' .. ARGV[2], '+inf', 'BYSCORE', 'LIMIT', 0, limit + 1, 'WITHSCORES')
end
local chunk, at, pos, size = {}, 1, after, math.min(limit + 1, 100)
local more = true
local function entry()
  if at > #chunk and more then
    chunk = redis.call('XRANGE', log, '(' .. string.format('%.0f', pos) .. '-0', known[3] .. '-0', 'COUNT', size)
    at, more = 1, #chunk == size
    if #chunk > 0 then pos = tonumber(string.match(chunk[#chunk][1], '^%d+')) end
  end
  return chunk[at]
end

local rows, used, last = {}, 0, after
while true do
  local row = entry()
  local offset = row and tonumber(string.match(row[1], '^%d+'))
  local fold = folds[nextFold]
  local place = fold and tonumber(folds[nextFold + 1])
  local first, time, text
  if fold then first, time, text = string.match(fold, '^(%d+) (%d+) (.*)$') end
  local from
  if fold and (not row or place < offset) then
    offset, from, nextFold = place, tonumber(first), nextFold + 2
  elseif row then
    time, text, at = row[2][2], row[2][4], at + 1
    if fold and tonumber(first) < offset then from = tonumber(first) end
  else
    break
  end
  local inside = from and from <= last
  used = used + #text
  if #rows > 0 and not inside and (#rows >= limit or used > bytes) then break end
  rows[#rows + 1] = {offset, time, text, from or ''}
  last = offset
end
return {known[1], shown, rows}
`)

/** The entry that a producer wrote under an id or a number: offset, time, text; or nothing. */
export const FIND = script(`
${LUA_COUNTED}
local log, ids = KEYS[2], KEYS[3]
local field, number = unpack(ARGV)
local shown = tonumber(redis.call('HGET', KEYS[1], 'shown') or 0)
local prior = redis.call('HGET', ids, field)
if not prior then return {} end
local row
if number == '' then
  row = redis.call('XRANGE', log, prior .. '-0', prior .. '-0')[1]
else
  local first, last, at = string.match(prior, '^(%d+) (%S+) (%d+)$')
  if tonumber(number) == tonumber(last) then
    row = redis.call('XRANGE', log, at .. '-0', at .. '-0')[1]
  elseif tonumber(number) < tonumber(last) then
    local found, exact = counted(log, first, tonumber(number))
    if exact then row = found end
  end
end
if not row then return {} end
local offset = tonumber(string.match(row[1], '^%d+'))
if offset > shown then return {} end
return {offset, row[2][2], row[2][4]}
`)
