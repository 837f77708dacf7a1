-- fetch.lua starts due jobs.
--
--   ARGV  4 worker
--         5 number of the fetch
--         6 '1' = only look, start nothing
--         7 bytes of args and meta at most; 0 = any; negative: so many, and not even
--           one job beyond them
--         8 kinds (-1 = any), 9 queues: how many of each follow
--           the kinds, shorter ones first, else in the order of their bytes; for
--           each queue its name, slots, and cursor ('' or where to go on)
--   reply after the three: false if the worker is not known, else {jobs, for each
--   queue the milliseconds until the next job is due (-1 = none, -2 = so many kinds
--   wait there that they must be looked at first), cursors, 1 = the bytes are used
--   up}
--         a job is {ID, row, head, errors}, or ID and row on the first run of a job
--         that was never changed; when only looking {number of the queue in the
--         request, its member of ix from the priority on, its bytes at most, its
--         kind, packed; '' in form 1}
--         a cursor is '' when the whole queue was looked at
--
-- A lane is the waiting jobs of a queue and kind, in the order of fetches.
--   lanesof          the lanes of a queue that have jobs of the wanted kinds
--   refill, advance  read on in a lane; go to its next due job
--   comes, before    which of two lanes, or of two texts, comes first
--   size             the bytes of args and meta of a job
-- First the jobs are chosen, then their bytes are looked at, then those that
-- start for the first time are written without the model, then the others.
local worker, no, look, bytes = ARGV[4], tonumber(ARGV[5]), ARGV[6] == '1', tonumber(ARGV[7])
local nk, nq = tonumber(ARGV[8]), tonumber(ARGV[9])
local base = 9 + max(nk, 0)
local CROWDED = -2
local CHUNK, SCANNED, LANES = 200, 1000, 2000 -- read at once; rows of form 1, and lanes of a queue, in one script
local fields = {'k' .. worker}
for i = 1, nq do fields[1 + i] = 'q' .. ARGV[base + 3 * i - 2] end
local got, unknown = start(fields)
if not got then return unknown end
if not got[1] then return {ARGV[1], stamp, wokenlist, false} end

local kinds, wanted = nil, nil -- packed
if nk >= 0 then
  kinds, wanted = {}, {}
  for i = 1, nk do
    kinds[i] = named(ARGV[9 + i])
    wanted[kinds[i]] = true
  end
end
local m

local reply, nextdue, cursors = {}, {}, {}
local leaseends, beat, token, last, lease = unpk(WORKER_FORMAT, got[1])
if token == ARGV[1] then -- this fetch was done before, and its answer was lost
  local ids = {}
  local range = 'r' .. named(worker)
  local from, stop = '[' .. range .. pack('>I6', no), '(' .. range .. pack('>I6', no + 1)
  for i, member in ipairs(call('ZRANGEBYLEX', ix, from, stop)) do ids[i] = sub(member, #range + 7) end
  m = model()
  m.load(ids)
  m.bodies(m.all(), true)
  for i, id in ipairs(ids) do reply[i] = {id, m.triple(m.job(id), true)} end
  for i = 1, nq do nextdue[i], cursors[i] = 0, '' end
  return {ARGV[1], stamp, wokenlist, {reply, nextdue, cursors, 0}}
end

-- before compares two texts as bytes.
local function before(a, b)
  for i = 1, min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- A lane is a stretch of ix in the order of fetches: of a queue and kind,
-- or in form 1 of a queue. buf has members of it that were read, i is the
-- next of them; more = there may be others after these; want = how many to
-- read at once.
local scanned = 0

local function refill(l, from)
  l.buf = call('ZRANGEBYLEX', ix, from, '(' .. l.pre .. '\255', 'LIMIT', 0, l.want)
  l.i, l.more = 1, #l.buf == l.want
  if not l.filter then return end
  scanned = scanned + #l.buf
  local ids = {}
  for k, member in ipairs(l.buf) do ids[k] = sub(member, #l.pre + PLACE_SIZE + 1) end
  m = m or model()
  m.load(ids)
end

-- advance sets member and at (priority and run time as a number) to the
-- next due job of a lane; nil if there is none. It notes when the next of
-- the later jobs is due.
local function advance(l)
  local n = #l.pre
  while true do
    local member = l.buf[l.i]
    if not member then
      if l.more and l.filter and scanned >= SCANNED then
        l.cursor, l.more = '(' .. l.buf[#l.buf], false
      end
      if not l.more then
        l.member = nil
        return
      end
      refill(l, '(' .. l.buf[#l.buf])
    else
      local prio, runat = unpk(PLACE_FORMAT, member, n + 1)
      l.i = l.i + 1
      if l.filter and not wanted[named(m.job(sub(member, n + PLACE_SIZE + 1)).prof.kind)] then
        -- A job of another kind.
      elseif runat <= now then
        l.member, l.at = member, prio * (NEVER + 1) + runat
        return
      else
        l.later = min(l.later or NEVER, runat - now)
        while l.buf[l.i] and byte(l.buf[l.i], n + 1) == prio do l.i = l.i + 1 end
        if not l.buf[l.i] and l.more then refill(l, '[' .. l.pre .. char(prio + 1)) end
      end
    end
  end
end

-- comes reports whether the next job of lane a starts before that of b.
local function comes(a, b)
  if a.at ~= b.at then return a.at < b.at end
  return before(sub(a.member, #a.pre + PLACE_SIZE + 1), sub(b.member, #b.pre + PLACE_SIZE + 1))
end

-- lanesof finds the lanes of a queue that have waiting jobs of the wanted
-- kinds, from a place on. It returns them, and where to go on if there are
-- too many.
local function lanesof(name, slots, from)
  local lanes, want = {}, min(slots + 1, CHUNK)
  local queue = 'w' .. named(name)
  local n, k = #queue, 1
  local stop = '(' .. queue .. (kinds and kinds[#kinds] or '') .. '\255'
  if from == '' then from = '[' .. queue .. (kinds and kinds[1] or '') end
  while true do
    local chunk, l, kind = call('ZRANGEBYLEX', ix, from, stop, 'LIMIT', 0, want), nil, nil
    for _, member in ipairs(chunk) do
      local here = sub(member, n + 1, n + 1 + byte(member, n + 1))
      if here ~= kind then
        kind, l = here, nil
        if not wanted or wanted[kind] then
          l = {kind = kind, pre = queue .. kind, buf = {}, i = 1, more = false, want = max(16, want)}
          lanes[#lanes + 1] = l
        end
      end
      if l then l.buf[#l.buf + 1] = member end
    end
    if #chunk < want then return lanes end
    if l then l.more = true end
    from = '(' .. queue .. kind .. '\255'
    if kinds then -- skip lanes of other kinds
      while kinds[k] and not before(kind, kinds[k]) do k = k + 1 end
      if not kinds[k] then return lanes end
      from = '[' .. queue .. kinds[k]
    end
    if #lanes >= LANES then return lanes, from end
    want = min(want, 16)
  end
end

local ids, was, from, queues = {}, {}, {}, {} -- member and queue number of each job to start; rows of queues
for i = 1, nq do
  local a = base + 3 * i - 2
  local name, slots, cursor = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 2]
  local q = qrows[name] or qread(name, got[1 + i])
  nextdue[i], cursors[i], queues[i] = -1, '', q
  local lanes, waits = {}, true
  local ends = pauseends(q)
  if ends > 0 then
    if ends < NEVER then nextdue[i] = ends - now end
  elseif q.no and nk ~= 0 then
    if form2 then
      local on
      lanes, on = lanesof(name, slots, cursor)
      if look then
        cursors[i] = on or ''
      elseif on then
        lanes, waits, nextdue[i] = {}, false, CROWDED
      end
    else
      local l = {kind = '', pre = 'w' .. pack('>I3', q.no), filter = kinds}
      l.want = kinds and CHUNK or min(slots + 1, CHUNK)
      refill(l, cursor ~= '' and cursor or '[' .. l.pre)
      lanes[1] = l
    end
  end
  if #lanes == 1 and not lanes[1].filter then -- as mostly: what was read is taken in one go
    local l = lanes[1]
    local buf, n, k, at = l.buf, #l.pre, l.i, #ids
    while slots > 0 do
      local member = buf[k]
      if not member then break end
      local _, runat = unpk(PLACE_FORMAT, member, n + 1)
      if runat > now then break end
      slots, k, at = slots - 1, k + 1, at + 1
      ids[at], was[at], from[at] = sub(member, n + PLACE_SIZE + 1), member, i
      if look then reply[at] = {i, sub(member, n + 1), 0, l.kind} end
    end
    l.i = k
  end
  local ahead = {} -- lanes with a due job, in the order of these jobs
  for _, l in ipairs(lanes) do
    advance(l)
    if l.member then ahead[#ahead + 1] = l end
  end
  if #ahead > 1 then table.sort(ahead, comes) end
  local k = 1
  while ahead[k] do
    if slots == 0 then
      nextdue[i], waits = 0, false
      break
    end
    slots = slots - 1
    local l, n = ahead[k], #ids + 1
    ids[n], was[n], from[n] = sub(l.member, #l.pre + PLACE_SIZE + 1), l.member, i
    if look then reply[n] = {i, sub(l.member, #l.pre + 1), 0, l.kind} end
    advance(l)
    if not l.member then
      k = k + 1
    else
      local at = k
      while ahead[at + 1] and comes(ahead[at + 1], l) do
        ahead[at] = ahead[at + 1]
        at = at + 1
      end
      ahead[at] = l
    end
  end
  for _, l in ipairs(lanes) do
    if l.later and (nextdue[i] < 0 or l.later < nextdue[i]) then nextdue[i] = l.later end
    if l.cursor then cursors[i] = l.cursor end
  end
  if waits and slots > 0 and cursors[i] == '' then await(name, kinds) end -- the worker will wait for more
end

-- The size of the jobs is only looked at if they may be too much together.
-- A row that has its head is small.
local heads, rows = {}, {}
local n = #ids
local fields = {} -- of heads
for i = 1, n do fields[i] = '\0' .. ids[i] end
if n > 1 or look then heads = hmget(jobs, fields) end

-- size is how many bytes of args and meta a job has.
local function size(i)
  local id, head = ids[i], heads[i]
  local j, at = readhead(id, head or rows[i])
  local b
  if head and at <= #head then
    b = readbody(j, head, at, true)
  else
    local row = rows[i] or call('HGET', jobs, id)
    if head then
      local _
      _, at = readhead(id, row)
    end
    b = readbody(j, row, at)
  end
  return b.size + #b.meta
end

if look then
  -- Rows are not read here: their size is known, or that they are small.
  if bytes ~= 0 then
    for i = 1, n do
      local head, weighs = heads[i], BODY_LARGE
      if head or n * BODY_LARGE > bytes then weighs = call('HSTRLEN', jobs, ids[i]) end
      reply[i][3] = weighs
    end
  end
  qsave()
  return {ARGV[1], stamp, wokenlist, {reply, nextdue, cursors, 0}}
end

-- Rows that have their heads are small. A large one is read when it is
-- certain that it will start; a single job starts whatever its size.
local lone, place = {}, {}
for i = 1, n do
  if not heads[i] then
    lone[#lone + 1] = ids[i]
    place[#lone] = i
  end
end
if n == 1 then
  local got = call('HMGET', jobs, fields[1], ids[1])
  heads[1], rows[1] = got[1], got[2]
else
  local got = hmget(jobs, lone)
  if #lone == n then
    rows = got
  else
    for k = 1, #lone do rows[place[k]] = got[k] end
  end
end
local full = 0
if bytes ~= 0 and (n > 1 or bytes < 0) then
  local limit, all = math.abs(bytes), 0
  for i = 1, n do all = all + (rows[i] and #rows[i] or call('HSTRLEN', jobs, ids[i])) end
  if all > limit then
    all = 0
    for i = 1, n do
      all = all + size(i)
      if all > limit and (i > 1 or bytes < 0) then
        for k = i, n do nextdue[from[k]], ids[k] = 0, nil end
        n, full = i - 1, 1
        break
      end
    end
  end
end

local slow, set, add, rem = {}, {}, {}, {}
local ns, na, nr, nj = 0, 0, 0, 0
local running, zero6 = 'r' .. named(worker) .. pack('>I6', no), pack('>I6', 0)
local tails, where = {}, {} -- by REF: the parts of the head of a first run before and after the anchor; in the reply
for i = 1, n do
  local id, row, p = ids[i], rows[i], nil
  local a, b = byte(heads[i] or row, 1, 2)
  if not heads[i] and band(b, B_LONG + B_INLINE) == 0 then -- a short head, its profile not inline
    local now1 = band(b, B_NOW) ~= 0
    local at = now1 and HEAD_RUNAT or HEAD_REF
    local ref = sub(row, at, at + 3)
    local tail = tails[ref]
    if not tail then
      p = profile(ref)
      tail = {p, pack('>I3I3I5', 1, p.max, 1), pack('>I6I6I6BBc0', now, 0, no, p.enc, #worker, worker) .. '\0\0\0'}
      tails[ref] = tail
    end
    p = tail[1]
    local key = band(a, A_KEY) ~= 0
    if key and p.till == UNTIL_STARTED then
      p = nil
    else
      local enq, anchor = now1 and sub(row, HEAD_ENQUEUED, HEAD_RUNAT - 1) or '', zero6
      if key then
        if now1 then
          anchor = enq
        elseif p.fromenq == 1 then
          anchor = sub(row, HEAD_ENQUEUED, HEAD_RUNAT - 1)
        else
          anchor = sub(row, HEAD_RUNAT, HEAD_REF - 1)
        end
      end
      local bits = char(a - band(a, A_STATE) + STATE_RUNNING, band(b, B_MADE + B_PRIORITY) + B_LONG)
      local ends = at + (key and HEAD_SIZE - HEAD_REF or HEAD_KEY - 1 - HEAD_REF)
      set[ns + 1], set[ns + 2] = fields[i], bits .. enq .. sub(row, HEAD_ENQUEUED, ends) .. tail[2] .. anchor .. tail[3]
      ns = ns + 2
      nr = nr + 1
      rem[nr] = was[i]
      add[na + 1], add[na + 2] = '0', running .. id
      na = na + 2
      local q = queues[from[i]]
      q[COUNT_WAITING], q[COUNT_RUNNING] = q[COUNT_WAITING] - 1, q[COUNT_RUNNING] + 1
      reply[nj + 1], reply[nj + 2] = id, row
      nj = nj + 2
    end
  end
  if not p then
    nj = nj + 1
    slow[#slow + 1], where[i], reply[nj] = i, nj, false
  end
end
if #slow > 0 then
  m = m or model()
  local list, started = {}, {}
  for k, i in ipairs(slow) do
    m.read(ids[i], rows[i] or nil, heads[i] or nil)
    local j = m.job(ids[i])
    list[k] = j
    if j.key and j.prof.till == UNTIL_STARTED then started[#started + 1] = j.key end
  end
  m.loadkeys(started)
  m.bodies(list, true)
  for k, i in ipairs(slow) do
    local j = list[k]
    m.startrun(j, worker, no)
    reply[where[i]] = {j.id, m.triple(j, true)}
  end
end
begin(rem)
if m then m.flush() end
pieces('HSET', jobs, set)
pieces('ZADD', ix, add)
if n > 0 then
  metaset[#metaset + 1] = 'k' .. worker
  metaset[#metaset + 1] = pack(WORKER_FORMAT, leaseends, beat, ARGV[1], no, lease) .. '\2'
end
qsave()
return {ARGV[1], stamp, wokenlist, {reply, nextdue, cursors, full}}
