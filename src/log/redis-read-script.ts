import { LUA_COUNTED, LUA_EPOCHS, LUA_STORE, script } from './redis-script.ts'

/** How many rows of the stream are fetched at once at most. */
const BATCH = 16

/**
 * Reads a channel after an offset: epoch (empty without entries), the offset up to which it is shown, and the rows, each
 * offset, time, text, and the first offset of the folded turn that it belongs to, or empty. A page ends as `takePage` has it.
 *
 * It fetches little more than it answers, whatever the sizes: rows in batches that begin with one and grow as the limit
 * allows by the average so far, folded turns one by one.
 *
 * The last is whether the position is one of this log, or of one that this one goes on from.
 *
 * Where another server wrote last, the channel gets its new epoch now, as an append would give it: who reads on must not be
 * told an epoch that others may know more of. So it does where a follower of this deployment had got the position (`seen` is
 * 1; a client's position proves nothing) and the head is below it. Where Redis takes no writes (it is full, lacks replicas or
 * could not save), the epoch waits.
 * Answers `unsettled` where replicas must confirm, and what another server wrote last has not been confirmed since.
 */
export const READ = script(`
${LUA_STORE}${LUA_EPOCHS}
local meta, log, folded = KEYS[1], KEYS[2], KEYS[5]
local epoch, after, limit, bytes, seen, fresh, waits = unpack(ARGV)
after, limit, bytes = tonumber(after), tonumber(limit), tonumber(bytes)
local known = redis.call('HMGET', meta, 'epoch', 'head', 'shown', 'store', 'before', 'unsettled')
if not known[1] then return {'', 0, {}, after == 0 and 1 or 0} end
local head, shown = tonumber(known[2]), tonumber(known[3] or 0)
local current = store()
local isMoved = known[4] ~= current
if waits == '1' and (isMoved or shown < tonumber(known[6] or 0)) then return {'unsettled'} end
if isMoved or (seen == '1' and epoch == known[1] and after > head) then
  local isWhole = isMoved and redis.call('EXISTS', log) == 1
  local before = endAt(known[5], known[1], isWhole and head or 0)
  local done = redis.pcall('HSET', meta, 'epoch', fresh, 'before', before, 'store', current)
  if type(done) ~= 'table' then
    known[1], known[5] = fresh, before
  else
    local why = string.match(done.err, '^%u+')
    if why ~= 'OOM' and why ~= 'NOREPLICAS' and why ~= 'MISCONF' then return done end
  end
end
local upTo = epoch == known[1] and shown or math.min(shown, goesOnFrom(known[5], epoch) or 0)
if after > upTo then return {known[1], shown, {}, 0} end
if limit == 0 or after >= shown then return {known[1], shown, {}, 1} end

local rows, used, last = {}, 0, after
local batch, at, size, rowPlace = {}, 1, 0, after
local function nextRow()
  if at > #batch and #batch == size then
    local average = #rows > 0 and used / #rows or bytes
    size = math.max(1, math.min(size * 2, ${BATCH}, limit + 1 - #rows, math.ceil((bytes - used) / average)))
    batch = redis.call('XRANGE', log, '(' .. string.format('%.0f', rowPlace) .. '-0', known[3] .. '-0', 'COUNT', size)
    at = 1
    if #batch > 0 then rowPlace = tonumber(string.match(batch[#batch][1], '^%d+')) end
  end
  return batch[at]
end

local hasFolds = redis.call('EXISTS', folded) == 1
local fold, place, first, foldTime, textAt
local function nextFold(from)
  local above = '(' .. string.format('%.0f', from)
  local found = redis.call('ZRANGE', folded, above, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  hasFolds, fold, place = #found > 0, found[1], tonumber(found[2])
  if fold then first, foldTime, textAt = string.match(fold, '^(%d+) (%d+) ()') end
  first = tonumber(first)
end
if hasFolds then nextFold(after) end

while true do
  local row = nextRow()
  local offset = row and tonumber(string.match(row[1], '^%d+'))
  local isFold = hasFolds and (not row or place < offset)
  local time, text, from
  if isFold then
    offset, time, text, from = place, foldTime, string.sub(fold, textAt), first
  elseif row then
    time, text = row[2][2], row[2][4]
    if hasFolds and first < offset then from = first end
  else
    break
  end
  local isInside = from and from <= last
  used = used + #text
  if #rows > 0 and not isInside and (#rows >= limit or used > bytes) then break end
  rows[#rows + 1] = {offset, time, text, from or ''}
  last = offset
  -- What stands next can only be inside a folded turn that has begun: else the page is full without looking at it.
  local isFull = #rows >= limit or used >= bytes
  if isFull and (isFold or not hasFolds or first > last) then break end
  if isFold then nextFold(place) else at = at + 1 end
end
return {known[1], shown, rows, 1}
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
