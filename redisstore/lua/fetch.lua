-- fetch.lua starts due jobs.
--
-- ARGV  4 worker, 5 number of the fetch, 6 '1' = only look: start nothing, 7 kinds, 8 queues: how many of each follow
--       the kinds, and for each queue: name, slots, cursor ('' or where to go on)
-- reply after the three: false where the worker is not known, else {jobs, for each queue milliseconds until the next is due (-1 = none), cursors}
--       a job is {ID, row, head, errors}, or ID and row where it is the first run of one that nothing was changed of; only looked at,
--       {the queue's number in the request, its member of ix from the priority on};
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
local m

local reply, nextdue, cursors = {}, {}, {}
local leaseends, beat, token, last, lease = unpk('>I6I6c8I6I6', got[1])
if token == ARGV[1] then -- this very fetch was here before, and its answer was lost
  local ids = {}
  local range = 'r' .. pack('>Bc0I6', #worker, worker, no)
  for i, member in ipairs(call('ZRANGEBYLEX', ix, '[' .. range, '(' .. 'r' .. pack('>Bc0I6', #worker, worker, no + 1))) do
    ids[i] = sub(member, #range + 1)
  end
  m = model()
  m.load(ids)
  for i, id in ipairs(ids) do reply[i] = {id, m.triple(m.job(id))} end
  for i = 1, nq do nextdue[i], cursors[i] = 0, '' end
  return {ARGV[1], now6, wokenlist, {reply, nextdue, cursors}}
end

local ids, was, lanes, scanned = {}, {}, {}, 0
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
        m = m or model()
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
              local n = #ids + 1
              ids[n], was[n], lanes[n] = id, member, q
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

local fields = {}
for i, id in ipairs(ids) do fields[2 * i - 1], fields[2 * i] = id, '\0' .. id end
local read = hmget(jobs, fields)
local slow, place, set, add, rem = {}, {}, {}, {}, {} -- place is that in the reply
local ns, na, nr, nj = 0, 0, 0, 0
local running, zero6 = 'r' .. pack('>Bc0I6', #worker, worker, no), pack('>I6', 0)
local tails = {} -- by REF: what stands before and behind the anchor in the head of a first run
for i, id in ipairs(ids) do
  local row = read[2 * i - 1]
  local a, b = byte(row, 1, 2)
  local p
  if not read[2 * i] and band(b, 80) == 0 then -- a short head, its profile not inline
    local now1 = band(b, 32) ~= 0
    local at = now1 and 9 or 15
    local ref = sub(row, at, at + 3)
    local tail = tails[ref]
    if not tail then
      p = profile(ref)
      tail = {p, pack('>I3I3I5', 1, p.max, 1), pack('>I6I6I6BBc0', now, 0, no, p.enc, #worker, worker) .. '\0\0\0'}
      tails[ref] = tail
    end
    p = tail[1]
    local key = band(a, 32) ~= 0
    if key and p.till == STARTED then
      p = nil
    else
      local enq, anchor = now1 and sub(row, 3, 8) or '', zero6
      if key then
        anchor = now1 and enq or p.fromenq == 1 and sub(row, 3, 8) or sub(row, 9, 14)
      end
      set[ns + 1], set[ns + 2] = fields[2 * i], char(a - band(a, 7) + RUNNING, band(b, 15) + 16) .. enq ..
        sub(row, 3, at + (key and 43 or 11)) .. tail[2] .. anchor .. tail[3]
      ns = ns + 2
      nr = nr + 1
      rem[nr] = was[i]
      add[na + 1], add[na + 2] = '0', running .. id
      na = na + 2
      local q = lanes[i]
      q[1], q[3] = q[1] - 1, q[3] + 1
      reply[nj + 1], reply[nj + 2] = id, row
      nj = nj + 2
    end
  end
  if not p then
    nj = nj + 1
    slow[#slow + 1], place[i], reply[nj] = i, nj, false
  end
end
if #slow > 0 then
  m = m or model()
  local some, started = {}, {}
  for k, i in ipairs(slow) do some[k] = ids[i] end
  m.load(some)
  for _, id in ipairs(some) do
    local j = m.job(id)
    if j.key and j.prof.till == STARTED then started[#started + 1] = j.key end
  end
  m.loadkeys(started)
  for _, i in ipairs(slow) do
    local id = ids[i]
    local j = m.job(id)
    m.dirty(j)
    j.state, j.started, j.worker, j.fetch = RUNNING, now, worker, no
    j.attempt, j.run = j.attempt + 1, j.run + 1
    j.split = j.split or ''
    local k = j.key and m.keyrow(j.key)
    if k and k.holder == id and not k.gone and k.pending == STARTED then m.come(k, j) end
    reply[place[i]] = {id, m.triple(j)}
  end
end
begin(rem)
if m then m.flush() end
pieces('HSET', jobs, set)
pieces('ZADD', ix, add)
if #ids > 0 then
  metaset[#metaset + 1] = 'k' .. worker
  metaset[#metaset + 1] = pack('>I6I6c8I6I6', leaseends, beat, ARGV[1], no, lease)
end
qsave()
return {ARGV[1], now6, wokenlist, {reply, nextdue, cursors}}
