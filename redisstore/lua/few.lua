-- few.lua finds the jobs in some states, where an index has them and they are
-- few.
--
--   ARGV  4 where to look, a letter each: w = what waits, r = what runs, 1, 4, 5 =
--           what is retryable, discarded, cancelled; b = what stands behind
--           another, of which there is no index: there must be none
--         5 how many at most
--         6 the queue of what waits, 7 the worker of what runs; '' = any
--         8 up to how many are read at once, 9 '1' = with args, 10 into how many bytes
--   reply after the three: 1, and the IDs of all of them; or 2, and for each
--         {ID, row, head, errors}; else 0
--
-- What is read at once is of one instant. Jobs that are read by their IDs later
-- may have moved on, and those that took their place are not among them.
local where, limit, queue, worker = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local fields = {}
if queue ~= '' then fields[1] = 'q' .. queue end
local got, unknown = start(fields)
if not got then return unknown end
local none = {ARGV[1], stamp, wokenlist, 0}

-- standing is whether a job stands behind another in a queue.
local function standing(row) return row and qread('', row)[2] > 0 end
if where:find('b', 1, true) then
  local QUEUES = 1000
  if queue ~= '' then
    if standing(got[1]) then return none end
  else
    local names = call('ZRANGEBYLEX', ix, '[q', '(r', 'LIMIT', 0, QUEUES + 1)
    if #names > QUEUES then return none end
    for _, row in ipairs(hmget(meta, names)) do
      if standing(row) then return none end
    end
  end
end

local function waiting()
  if queue == '' then return 'w' end
  if form2 then return 'w' .. named(queue) end
  if not got[1] then return nil end
  local q = qread(queue, got[1])
  return 'w' .. pack('>I3', q.no)
end

local n, ids = 0, {}
local ranges = {
  w = {waiting(), function(member)
    if not form2 then return sub(member, 12) end
    local at = 3 + byte(member, 2)
    return sub(member, at + byte(member, at) + 8)
  end},
  r = {worker == '' and 'r' or 'r' .. named(worker), function(member) return sub(member, 9 + byte(member, 2)) end},
  ['1'] = {'s\1', function(member) return sub(member, 3) end},
  ['4'] = {'s\4', function(member) return sub(member, 3) end},
  ['5'] = {'s\5', function(member) return sub(member, 3) end},
}
local seen = {}
for index in where:gmatch('[wr145]') do
  local from, id = ranges[index][1], ranges[index][2]
  if from and not seen[index] then
    seen[index] = true
    local first, last = '[' .. from, '(' .. from .. '\255\255\255'
    n = n + call('ZLEXCOUNT', ix, first, last)
    if n > limit then return none end
    for _, member in ipairs(call('ZRANGEBYLEX', ix, first, last)) do ids[#ids + 1] = id(member) end
  end
end

local function answer(as, list)
  local reply = {ARGV[1], stamp, wokenlist, as}
  for i, v in ipairs(list) do reply[4 + i] = v end
  return reply
end
if n <= tonumber(ARGV[8]) then
  local rows, done = model().hand(ids, ARGV[9] == '1', tonumber(ARGV[10]))
  if done == n then
    for i = 1, n do rows[i] = rows[i] or {ids[i], '', false, false} end
    return answer(2, rows)
  end
end
return answer(1, ids)
