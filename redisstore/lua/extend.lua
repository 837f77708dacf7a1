-- extend.lua is a worker's heartbeat.
--
--   ARGV  4 worker
--         5 lease in milliseconds; 0 = the worker leaves
--         6 fetches done
--         7 what to do: '' = all; 'b' = all once more, because there was more to
--           hand back; 'c' = only look at runs
--         8 runs: how many follow; for each the run (5 bytes) and the ID
--         9 how many IDs follow: the other runs that the worker has
--         10 what the worker says of itself; '' = as before
--           then the runs, and the IDs
--   reply after the three: for each run '', 'l' (lost) or 's' (to stop); how many
--         were handed back; 1 = there is more to do
local worker, lease, done, what = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local n, others, about = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10]
local got, unknown = start({'k' .. worker, 'a' .. worker})
if not got then return unknown end
local m = model()
local reply, inhand, ids = {ARGV[1], stamp, wokenlist}, {}, {}
for i = 1, n do ids[i] = sub(ARGV[10 + i], 6) end
for i = 1, others do inhand[ARGV[10 + n + i]] = true end
m.load(ids)
for i = 1, n do
  local run, j = unpk('>I5', ARGV[10 + i]), m.job(ids[i])
  local answer = ''
  if not j or j.state ~= STATE_RUNNING or j.run ~= run or j.worker ~= worker then
    answer = 'l'
  else
    if j.cancel then answer = 's' end
    inhand[ids[i]] = true
  end
  reply[3 + i] = answer
end
if what == 'c' then
  reply[4 + n], reply[5 + n] = 0, 0
  return reply
end

-- Jobs that run for this worker, and that it does not have, are handed
-- back.
local LIMIT = 200
local range = 'r' .. named(worker)
local from, stop = '[' .. range, '(' .. range .. pack('>I6', done + 1)
if lease == 0 then stop = '[' .. range .. string.rep('\255', 7) end
local back, more = {}, 0
while more == 0 do
  local chunk = call('ZRANGEBYLEX', ix, from, stop, 'LIMIT', 0, 1000)
  for _, member in ipairs(chunk) do
    local id = sub(member, #range + 7)
    if lease == 0 or not inhand[id] then
      if #back == LIMIT then
        more = 1
        break
      end
      back[#back + 1] = id
    end
  end
  if #chunk < 1000 then break end
  from = '(' .. chunk[1000]
end
m.loadwith(back) -- one that is to stop ends, and its key moves
for _, id in ipairs(back) do m.finishrun(m.job(id), '', STATE_SCHEDULED, 0, true, '') end
m.flush()

-- The row of a worker ends with the form that its program knows.
local leaseends, beat, token, last = 0, 0, string.rep('\0', 8), 0
if got[1] then leaseends, beat, token, last = unpk(WORKER_FORMAT, got[1]) end
local member = 'l' .. pack('>I6', leaseends) .. worker
if lease == 0 and more == 0 then
  if got[1] then
    begin({member})
    call('HDEL', meta, 'k' .. worker, 'a' .. worker)
  end
elseif lease > 0 and what == '' then
  metaset[#metaset + 1] = 'k' .. worker
  metaset[#metaset + 1] = pack(WORKER_FORMAT, now + lease, beat + 1, token, last, lease) .. '\2'
  if about ~= '' or not got[1] then
    metaset[#metaset + 1] = 'a' .. worker
    metaset[#metaset + 1] = (got[2] and sub(got[2], 1, 6) or now6) .. about
  end
  begin({member}) -- it need not be there
  call('ZADD', ix, 0, 'l' .. pack('>I6', now + lease) .. worker)
end
qsave()
reply[4 + n], reply[5 + n] = #back, more
return reply
