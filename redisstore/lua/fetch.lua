-- fetch.lua starts due jobs.
--
-- ARGV  4 worker, 5 number of the fetch, 6 '1' = only look: start nothing, 7 kinds, 8 queues: how many of each follow
--       the kinds, and for each queue: name, slots, cursor ('' or where to go on)
-- reply after the three: false where the worker is not known, else {jobs, for each queue milliseconds until the next is due (-1 = none), cursors}
--       a job is {ID, row, head, errors}; only looked at, {the queue's number in the request, its member of ix from the priority on};
--       a cursor is '' when the queue was looked through
local worker, no, look, nk, nq = ARGV[4], tonumber(ARGV[5]), ARGV[6] == '1', tonumber(ARGV[7]), tonumber(ARGV[8])
local BUDGET, CHUNK = 1000, 200
local fields = {'k' .. worker}
for i = 1, nq do fields[1 + i] = 'q' .. ARGV[8 + nk + 3 * i - 2] end
local got = start(fields)
if not got then return {ARGV[1], false} end
if not got[1] then return {ARGV[1], now6, wokenlist, false} end
local kinds
if nk > 0 then
  kinds = {}
  for i = 1, nk do kinds[ARGV[8 + i]] = true end
end
local m = model()

local reply, nextdue, cursors = {}, {}, {}
local leaseends, beat, token, last = unpk('>I6I6c8I6', got[1])
if token == ARGV[1] then -- this very fetch was here before, and its answer was lost
  local ids = {}
  local range = 'r' .. pack('>Bc0I6', #worker, worker, no)
  for i, member in ipairs(call('ZRANGEBYLEX', ix, '[' .. range, '(' .. 'r' .. pack('>Bc0I6', #worker, worker, no + 1))) do
    ids[i] = sub(member, #range + 1)
  end
  m.load(ids)
  for i, id in ipairs(ids) do reply[i] = {id, m.triple(m.job(id))} end
  for i = 1, nq do nextdue[i], cursors[i] = 0, '' end
  return {ARGV[1], now6, wokenlist, {reply, nextdue, cursors}}
end

local ids, scanned = {}, 0
for i = 1, nq do
  local a = 8 + nk + 3 * i - 2
  local name, slots, cursor = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 2]
  local q = qread(name, got[1 + i])
  nextdue[i], cursors[i] = -1, ''
  local wanting = true
  if q.no and q.paused == 0 then
    local prefix, stop = 'w' .. pack('>I3', q.no), '(w' .. pack('>I3', q.no + 1)
    local from = '[' .. prefix
    if cursor ~= '' then from = cursor end
    while from do
      local want = kinds and CHUNK or min(slots + 1, CHUNK)
      local chunk = call('ZRANGEBYLEX', ix, from, stop, 'LIMIT', 0, want)
      local nextfrom
      if #chunk == want then nextfrom = '(' .. chunk[want] end
      if kinds then
        local some = {}
        for k, member in ipairs(chunk) do some[k] = sub(member, 12) end
        m.load(some)
      end
      for _, member in ipairs(chunk) do
        local prio, runat = unpk('>BI6', member, 5)
        local id = sub(member, 12)
        scanned = scanned + 1
        if not kinds or kinds[m.job(id).prof.kind] then
          if runat > now then
            if nextdue[i] < 0 or runat - now < nextdue[i] then nextdue[i] = runat - now end
            nextfrom = '[' .. prefix .. char(prio + 1)
            break
          elseif slots > 0 then
            slots = slots - 1
            if look then
              reply[#reply + 1] = {i, sub(member, 5)}
            else
              ids[#ids + 1] = id
            end
          else
            nextdue[i], nextfrom, wanting = 0, nil, false
            break
          end
        end
      end
      from = nextfrom
      if from and scanned >= BUDGET then
        cursors[i] = from
        break
      end
    end
  end
  if wanting and slots > 0 and cursors[i] == '' then -- it will wait for more
    qmade(name).sleepers = 1
  end
end

m.load(ids)
local started = {}
for _, id in ipairs(ids) do
  local j = m.job(id)
  if j.key and j.prof.till == STARTED then started[#started + 1] = j.key end
end
m.loadkeys(started)
for i, id in ipairs(ids) do
  local j = m.job(id)
  m.dirty(j)
  j.state, j.started, j.worker, j.fetch = RUNNING, now, worker, no
  j.attempt, j.run = j.attempt + 1, j.run + 1
  j.split = j.split or ''
  local k = j.key and m.keyrow(j.key)
  if k and k.holder == id and not k.gone and k.pending == STARTED then m.come(k, j) end
  reply[i] = {id, m.triple(j)}
end
m.flush()
if #ids > 0 then
  metaset[#metaset + 1] = 'k' .. worker
  metaset[#metaset + 1] = pack('>I6I6c8I6', leaseends, beat, ARGV[1], no)
end
qsave()
return {ARGV[1], now6, wokenlist, {reply, nextdue, cursors}}
