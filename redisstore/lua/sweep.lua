-- sweep.lua tidies: it prunes finished jobs whose retention is over, drops
-- keys that are free, reports workers whose lease is over, and drops rows
-- of queues that nobody uses and profiles that no job has. A sweep that
-- does not finish continues next time where it stopped ("c:" and a letter
-- in meta), so that all is done in the end.
--
--   ARGV  4 how many of each at most
--         5 how many finished jobs may be kept
--         6 '1' = the first script of a sweep
--   reply after the three: jobs pruned, how many of them early, keys dropped, 1 = there is more,
--         {worker, beat, lease ...}; beat -1: the worker has runs and is not known
--         how many finished jobs there are beyond those that may be kept; 1 = some
--         of them were not looked at yet; 1 = none of them may be pruned; the form
local limit, cap, first = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local got, unknown = start({'c:f', 'c:l', 'c:r', 'c:q', 'c:p', 'PN', 'old'})
if not got then return unknown end
local m = model()
local more = 0
local function keep(field, value) metaset[#metaset + 1], metaset[#metaset + 2] = field, value end

-- Finished jobs whose retention is over.
local ids, early = {}, 0
local past = pack('>I6', now + 1)
local due = call('ZRANGEBYLEX', ix, '[f', '(f' .. past, 'LIMIT', 0, limit + 1)
for i, member in ipairs(due) do
  if i > limit then
    more = 1
  else
    ids[i] = sub(member, 8)
  end
end

-- More finished jobs than may be kept: the oldest go first, if clients made
-- their IDs and they hold no key. The cursor goes round; "c:l" is how many
-- were pruned in this round.
local beyond = call('ZLEXCOUNT', ix, '[f' .. past, '(g') - cap
local lapped, on = 0, 0
if beyond > 0 and #ids < limit then
  local from, lap = got[1] or '', tonumber(got[2]) or 0
  local some, made, left = {}, {}, min(limit - #ids, beyond)
  if from ~= '' and unpk('>I6', from, 2) <= now then from = '' end
  local stretch = call('ZRANGEBYLEX', ix, from == '' and '[f' .. past or '(' .. from, '(g', 'LIMIT', 0, 2 * limit)
  for i, member in ipairs(stretch) do
    some[i] = sub(member, 8)
    if packed(some[i]) then made[#made + 1] = some[i] end
  end
  m.loadwith(made)
  local at = from
  for i, id in ipairs(some) do
    if early == left then break end
    at = stretch[i]
    local j = packed(id) and m.job(id)
    if j and j.made then
      local k = j.key and m.keyrow(j.key)
      if not k or k.holder ~= id or k.gone or not m.held(k) then
        early = early + 1
        ids[#ids + 1] = id
      end
    end
  end
  lap = lap + early
  if early < left and #stretch < 2 * limit then -- the end of a round
    lapped = lap == 0 and 1 or 0
    at, lap = '', 0
  end
  if early < beyond and lapped == 0 then on = 1 end
  keep('c:f', at)
  keep('c:l', lap)
end
m.loadwith(ids)
-- A program that does not know that failed jobs have a retention of their own
-- leaves a member behind that says another time than its job: it is put right.
local pruned, stray, right = 0, {}, {}
for i, id in ipairs(ids) do
  local j, at = m.job(id), due[i]
  local f = j and members(j)[1]
  if j and (i > #due or f == at) then
    m.remove(j, true)
    pruned = pruned + 1
  else
    stray[#stray + 1] = at
    if j and j.state >= STATE_COMPLETED then right[#right + 1], right[#right + 2] = '0', f end
  end
end

-- Keys that are free.
local names, dropped = {}, 0
for i, member in ipairs(call('ZRANGEBYLEX', ix, '[x', '(x' .. past, 'LIMIT', 0, limit + 1)) do
  if i > limit then
    more = 1
  else
    names[i] = sub(member, 8)
  end
end
m.loadkeys(names)
for _, name in ipairs(names) do
  local k = m.keyrow(name)
  if k and not m.held(k) then
    m.drop(k)
    dropped = dropped + 1
  end
end

local late = {}
if first then
  -- Workers whose lease is over, and unknown workers.
  local WORKERS = 1000
  for _, member in ipairs(call('ZRANGEBYLEX', ix, '[l', '(l' .. past, 'LIMIT', 0, WORKERS)) do
    local worker = sub(member, 8)
    local row = call('HGET', meta, 'k' .. worker)
    if row then
      local _, beat, _, _, lease = unpk(WORKER_FORMAT, row)
      late[#late + 1], late[#late + 2], late[#late + 3] = worker, beat, lease
    end
  end
  local from, looked = got[3] or '[r', 0
  while looked < WORKERS do
    local member = call('ZRANGEBYLEX', ix, from, '(s', 'LIMIT', 0, 1)[1]
    if not member then
      from = '[r'
      break
    end
    local worker = unpk('>Bc0', member, 2)
    looked = looked + 1
    if call('HEXISTS', meta, 'k' .. worker) == 0 then
      late[#late + 1], late[#late + 2], late[#late + 3] = worker, -1, 0
    end
    from = '[r' .. named(worker) .. string.rep('\255', 7)
  end
  if from ~= (got[3] or '[r') then keep('c:r', from) end
end

-- Rows of queues that have no job, are not paused, and for whose jobs
-- nobody has asked for an hour.
local IDLE, QUEUES, PROFILES = 3600000, 100, 100
if first and form2 then
  local from = got[4] or ''
  local some = call('ZRANGEBYLEX', ix, from == '' and '[q' or '(' .. from, '(r', 'LIMIT', 0, QUEUES)
  local rem, del = {}, {}
  for _, member in ipairs(some) do
    local q = qrow(sub(member, 2))
    local pre = 'w' .. named(q.name)
    if q.paused == 2 and pauseends(q) == 0 then
      q.paused = 0
      del[#del + 1] = 'u' .. q.name
    end
    if q.no and q.paused + q[COUNT_BEHIND] + q[COUNT_RUNNING] == 0 and
      q[COUNT_COMPLETED] + q[COUNT_DISCARDED] + q[COUNT_CANCELLED] == 0 and
      not call('ZRANGEBYLEX', ix, '[' .. pre, '(' .. pre .. '\255', 'LIMIT', 0, 1)[1] then
      if q.mark == 0 then
        q.mark = now
      elseif now - q.mark >= IDLE then
        rem[#rem + 1], del[#del + 1] = member, member
        q.no = nil -- so that it is not written again
      end
    elseif q.no then
      q.mark = 0
    else
      rem[#rem + 1], del[#del + 1] = member, member
    end
  end
  local at = #some == QUEUES and some[#some] or ''
  if at ~= from then keep('c:q', at) end
  if #del > 0 then
    begin(rem)
    pieces('HDEL', meta, del)
  end

  -- Profiles that no job has, once there are many.
  local profiles = tonumber(got[6]) or 0
  if profiles > PROFILES then
    local scanned = call('HSCAN', meta, got[5] or '0', 'COUNT', 200)
    local gone, counts = {}, {}
    for i = 1, #scanned[2], 2 do
      local field = scanned[2][i]
      if #field == 5 and sub(field, 1, 1) == 'P' then
        local ref = sub(field, 2)
        if (tonumber(call('HGET', jobs, '\0\0\0N' .. ref)) or 0) <= 0 then
          gone[#gone + 1], counts[#counts + 1] = field, '\0\0\0N' .. ref
        end
      end
    end
    if #gone > 0 then
      begin()
      pieces('HDEL', meta, gone)
      pieces('HDEL', jobs, counts)
      keep('PN', profiles - #gone)
      keep('v', '2' .. (tonumber(sub(stamp, 7)) or 0) + 1)
    end
    keep('c:p', scanned[1])
  end
end
if first and not form2 then -- a program that knows only form 1, see migrate.lua
  local seen = false
  for _, member in ipairs(call('ZRANGEBYLEX', ix, '[l', '(m', 'LIMIT', 0, 1000)) do
    local row = call('HGET', meta, 'k' .. sub(member, 8))
    seen = seen or row and #row == WORKER_SIZE
  end
  if seen and now - (tonumber(got[7]) or 0) > 60000 then keep('old', now) end
end
m.flush()
qsave()
begin(stray)
pieces('ZADD', ix, right)
return {ARGV[1], stamp, wokenlist, pruned, early, dropped, more, late, beyond - early, on, lapped, form2 and '2' or '1'}
