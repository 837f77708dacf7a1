-- migrate.lua brings a partition from form 1 to form 2, a stretch at a
-- time. No other script works there meanwhile, so that nothing is in two
-- forms at once; a program that finds it half done continues the work.
--
-- In form 2 waiting jobs are in ix by queue and kind, the jobs of each
-- profile are counted, and large rows have covers. "m" in meta says where
-- it is: 'i' or 'j', and the ID of the last job that was done.
--
--   ARGV  4 how many jobs at most
--         5 the final value of "p"
--         6 for how many milliseconds no program that only knows form 1 may have been seen
--   reply after the three: the form ('1' = such a program was here lately), how many jobs were done
local limit, quiet = tonumber(ARGV[4]), tonumber(ARGV[6])
local got = call('HMGET', meta, 'v', 'clock', 'm', 'old')
local form, at = got[1], got[3]
if form ~= '1' and form ~= 'm' then return {ARGV[1], '\0\0\0\0\0\0', {}, form, 0} end
clock(got[2])

if form == '1' then
  -- Such a program writes a row of a worker that ends behind its lease.
  local seen = tonumber(got[4]) or 0
  for _, member in ipairs(call('ZRANGEBYLEX', ix, '[l', '(m', 'LIMIT', 0, 1000)) do
    local row = call('HGET', meta, 'k' .. sub(member, 8))
    if row and #row == WORKER_SIZE then seen = now end
  end
  if seen == now and now - (tonumber(got[4]) or 0) > 60000 then
    begin()
    call('HSET', meta, 'old', now)
  end
  if now - seen < quiet then return {ARGV[1], now6, {}, '1', 0} end
  at = 'i'
end

-- The jobs in the order of their IDs: first those in pages, then the
-- others.
local ids = {}
local last = sub(at, 2)
if sub(at, 1, 1) == 'i' then
  local function take(s)
    for k = 1, #s, SIZE do
      local id = sub(s, k, k + SIZE - 1)
      if #ids < limit and (last == '' or below(last, id)) then ids[#ids + 1] = id end
    end
  end
  local from = '[i'
  if last ~= '' then
    from = '[' .. (call('ZREVRANGEBYLEX', ix, '[i' .. last, '[i', 'LIMIT', 0, 1)[1] or 'i')
  end
  while #ids < limit do
    local some = call('ZRANGEBYLEX', ix, from, '(j', 'LIMIT', 0, 16)
    for _, member in ipairs(some) do take(call('HGET', jobs, BOOK .. sub(member, 2)) or '') end
    if #some < 16 then
      take(sub(call('HGET', jobs, BOOK) or BOTTOM, SIZE + 1))
      break
    end
    from = '(' .. some[16]
  end
  if #ids < limit then at, last = 'j', '' end
end
local made = #ids
if sub(at, 1, 1) == 'j' then
  local from = last == '' and '[j' or '(j' .. last
  for _, member in ipairs(call('ZRANGEBYLEX', ix, from, '(k', 'LIMIT', 0, limit - made)) do
    ids[#ids + 1] = sub(member, 2)
  end
end

local fields, rem, add, set, read, done = {}, {}, {}, {}, 0, 0
for i, id in ipairs(ids) do fields[i] = '\0' .. id end
local heads = hmget(jobs, fields)
for i, id in ipairs(ids) do
  if read > 4194304 then break end
  local s = heads[i]
  local row = not s and call('HGET', jobs, id)
  if row then read = read + #row end
  local j, body = readhead(id, s or row)
  form2 = true
  count(j.ref, 1)
  if j.state <= STATE_RETRYABLE and j.behind == '' then
    local new = members(j)
    form2, j.prof.lane = false, nil
    local old = members(j)
    j.prof.lane = nil
    for k = 1, 2 do
      if old[k] and old[k] ~= new[k] then
        rem[#rem + 1] = old[k]
        add[#add + 1], add[#add + 2] = 0, new[k]
      end
    end
  end
  if row and #row - body + 1 > BODY_LARGE then
    local b = readbody(j, row, body)
    set[#set + 1], set[#set + 2] = fields[i], sub(row, 1, body - 1) .. writebody(j, b) .. pack('>I4', b.size)
  end
  done = i
end
form2 = true
if done > made or done == #ids and sub(at, 1, 1) == 'j' then
  at = 'j' .. (done > made and ids[done] or '')
elseif done > 0 then
  at = 'i' .. ids[done]
end
begin(rem)
pieces('ZADD', ix, add)
pieces('HSET', jobs, set)
savecounts()
if done == #ids and #ids < limit then
  call('HSET', meta, 'v', '2', 'p', ARGV[5])
  call('HDEL', meta, 'm', 'old')
  form = '2'
else
  call('HSET', meta, 'v', 'm', 'm', at)
  form = 'm'
end
return {ARGV[1], now6, {}, form, done}
