-- enqueue.lua accepts rows, as if one after another. Plain rows are done
-- here: a row that meets no job, and a row that meets the holder of its key
-- and does not write to it. All other rows go to judge.lua, after
-- everything that is written here. Rows that depend on each other all go
-- there.
--
--   KEYS and the first of ARGV: see lib.lua
--   ARGV  4 queues, 5 profiles, 6 rows: how many of each follow
--         7 the rows in the order of their IDs, 2 bytes each; '' = as they come
--         8 '1' = some have a key
--         9 plans, 44 bytes for each row; or one for all rows, if they are alike and a
--           client made all their IDs:
--           2 bytes  of a head, for a row that is due now
--           1        mode, see below
--           1, 1     queue, profile
--           2        leader: the number of the row that a follower follows
--           1, 6     time: 0 = delay, 1 = instant; milliseconds
--           5        reactions to scheduled, available, retryable, running, ended
--           1, 6     fields to write; max wait
--           1, 1, 1  not used; until; from enqueue
--           6, 6     window; TTL
--           3        how much of the body comes before the args; 0 = the row is not large
--        10 on: "q"NAME of each queue; "P"REF of each profile; the content of each
--           profile; "\0\0\0N"REF of each profile; the ID of each row; its key, or
--           ''; what follows the instants in its row: REF, nonce, key, body
--
--   modes 0 = plain: due now, held until an event, it never writes to a holder
--         1 = the same, but it may write to a holder
--         2 = not plain
--         3 = a follower: it has only an ID, and repeats the key of its leader
--         4 and 5 = 0 and 1 with a delay, or with clocks on the key
--
--   reply after the three: one byte for each row ('' = all were inserted), then in
--   the same order what some of these say
--         'i' inserted
--         'f' as its leader
--         'x' its ID is taken, or its leader's: send it again as a row of its own
--         's' skipped, 'r' rejected: key row and row of the holder
--         'S', 'R' the same, and its head and errors
--         'd' a list:
--           {2, outcome, job, key row, displaced}  this call was sent before
--           {3, job}                               the ID is taken
--           {4, outcome, key row, holder, job}     the key is held. job is {ID, row,
--                               head, errors}, or false where it is the holder as it was
--         a job is {row, head, errors}, or false
local call, sub, byte, char, pack, unpk = redis.call, string.sub, string.byte, string.char, struct.pack, struct.unpack
local jobs, keys, ix, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local nq, np, n, plans = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[9]
local base = 9 + nq + 3 * np
local PAGE, SIZE = 32, ID_SIZE

local got = call('HMGET', meta, 'v', 'clock', unpack(ARGV, 10, 9 + nq + np))
local form2 = got[1] and byte(got[1]) == FORM_TWO
if not form2 and got[1] ~= '1' then return {ARGV[1], false, got[1]} end
local now = tonumber(got[2])
if not now then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local now6 = pack('>I6', now)
local stamp = now6 .. sub(got[1], 2)
local known = call('HMGET', jobs, '\0\0\0', unpack(ARGV, base - np + 1, base + n)) -- page, counts, rows
local own = 1 + np
local taken = ARGV[8] == '1' and call('HMGET', keys, unpack(ARGV, base + n + 1, base + 2 * n)) or {}

-- above reports whether a packed ID is above all of a page.
local function above(id, page)
  local a1, a2, a3, a4 = unpk(ID_FORMAT, page, #page - SIZE + 1)
  local b1, b2, b3, b4 = unpk(ID_FORMAT, id)
  return a1 < b1 or a1 == b1 and (a2 < b2 or a2 == b2 and (a3 < b3 or a3 == b3 and a4 < b4))
end

-- Plain rows that are alike and meet no job, as most calls send, and a single
-- row that meets the holder of its key are done here at once. What is not
-- settled here goes on below.
local alike = #plans == PLAN_SIZE
if alike then
  local a, b, mode = byte(plans, PLAN_A, PLAN_MODE)
  local queue, held, new = got[3], taken[1], mode < MODE_HARD
  for i = 1, n do
    if known[own + i] or taken[i] then
      new = false
      break
    end
  end
  if n == 1 and held and not known[own + 1] and mode == MODE_PLAIN and byte(held) ~= 0 then
    local met = call('HMGET', jobs, held, '\0' .. held)
    local refused = byte(plans, PLAN_SCHEDULED) ~= ACTION_ANSWER
    if not met[2] then return {ARGV[1], stamp, {}, refused and 'r' or 's', held, met[1] or ''} end
    local errors = call('HGET', jobs, '\0\0' .. held) or ''
    return {ARGV[1], stamp, {}, refused and 'R' or 'S', held, met[1] or '', met[2], errors}
  end
  local id, key, page = ARGV[base + 1], ARGV[base + n + 1], known[1]
  if new and form2 and page and queue and #queue == QUEUE_SIZE and byte(queue, QUEUE_SLEEPERS) == 0 and
    got[4] == ARGV[12] and #id == SIZE and byte(id, ID_NUL) == 0 and unpk('>I3', plans, PLAN_COVER) == 0 then
    local name, content, count = ARGV[10], ARGV[12], (tonumber(known[2]) or 0) + n
    local head = char(a, b) .. now6
    local lane = 'w' .. char(#name - 1) .. sub(name, 2) .. sub(content, 1, 1 + byte(content)) ..
      char(b % (B_PRIORITY + 1)) .. now6
    if n == 1 and #page < PAGE * SIZE and above(id, page) then
      call('HSET', jobs, id, head .. ARGV[base + 3], '\0\0\0', page .. id, ARGV[base], count)
      if key ~= '' then call('HSET', keys, key, id) end
      call('ZADD', ix, '0', lane .. id)
      return {ARGV[1], stamp, {}, ''}
    end
    local comes, order = {unpack(ARGV, base + 1, base + n)}, ARGV[7]
    for k = 1, #order / 2 do comes[k] = ARGV[base + unpk('>I2', order, 2 * k - 1)] end
    local set, add = {unpack(ARGV, base + 1, base + 2 * n)}, {unpack(ARGV, base + 1, base + 2 * n)} -- to be as large
    for i = 1, n do
      local id = ARGV[base + i]
      set[2 * i - 1], set[2 * i] = id, head .. ARGV[base + 2 * n + i]
      add[2 * i - 1], add[2 * i] = '0', lane .. id
    end
    set[2 * n + 1], set[2 * n + 2] = ARGV[base], count
    if #page <= (PAGE - n) * SIZE and above(comes[1], page) then
      set[2 * n + 3], set[2 * n + 4] = '\0\0\0', page .. table.concat(comes)
    else
      book(comes, page, set, add)
    end
    call('HSET', jobs, unpack(set))
    if key ~= '' then
      for i = 1, n do comes[2 * i - 1], comes[2 * i] = ARGV[base + n + i], ARGV[base + i] end
      call('HSET', keys, unpack(comes))
    end
    call('ZADD', ix, unpack(add))
    return {ARGV[1], stamp, {}, ''}
  end
end

local hard, status, detail, holders, comes, new, loud = {}, {}, {}, {}, {}, {}, {}
local setjobs, setkeys, add = {}, {}, {}
local nj, nk, na, nc, nh = 0, 0, 0, 0, 0
local front, lane, counts = {}, {}, {} -- what the rows, and the members, have in common; how many of a profile
local plain = true
for i = 1, n do
  local o = alike and 0 or PLAN_SIZE * (i - 1)
  local a, b, mode, q, p = byte(plans, o + PLAN_A, o + PLAN_PROFILE)
  local id, held = ARGV[base + i], taken[i]
  local queue = got[2 + q]
  local became = 'd'
  if mode == MODE_FOLLOWER then
    became = (known[own + i] or known[own + unpk('>I2', plans, o + PLAN_LEADER)]) and 'x' or 'f'
    plain = false
  elseif known[own + i] or mode == MODE_HARD then
    hard[#hard + 1] = i
  elseif held then
    local holder
    if byte(held) ~= 0 then
      holder = held
    elseif byte(held, KEYROW_FORM) == KEYROW_CLOCK and now < unpk('>I6', held, KEYROW_FREES) then
      holder = unpk('>Bc0', held, KEYROW_HOLDER)
      if byte(held, KEYROW_HOLDER + 1 + #holder) ~= 0 then holder = nil end -- a waiter stands behind it
    end
    if holder and mode % MODE_CLOCKS == MODE_PLAIN then
      holders[nh + 1], holders[nh + 2] = holder, '\0' .. holder
      nh = nh + 2
      became = byte(plans, o + PLAN_SCHEDULED) == ACTION_ANSWER and 's' or 'r'
      plain = false
    else
      hard[#hard + 1] = i
    end
  elseif queue and got[2 + nq + p] == ARGV[9 + nq + np + p] then
    became = 'i'
    local head = front[a * 256 + b]
    if not head then
      head = char(a, b) .. now6
      front[a * 256 + b] = head
    end
    local same = (q * 256 + p) * 256 + b
    local key, row, members, rest = ARGV[base + n + i], id, lane[same], ARGV[base + 2 * n + i]
    if not members then
      local place = sub(queue, QUEUE_NUMBER, QUEUE_PAUSED - 1)
      local waited = byte(queue, QUEUE_SLEEPERS) == 1
      if form2 then
        local content, name = ARGV[9 + nq + np + p], sub(ARGV[9 + q], 2)
        local kind = sub(content, 1, 1 + byte(content))
        place = char(#name) .. name .. kind
        if waited or #queue > QUEUE_SIZE and string.find(queue, kind, QUEUE_SIZE + 7, true) then
          loud[q] = loud[q] or {}
          loud[q][kind] = true
        end
      elseif waited then
        loud[q] = {}
      end
      members = 'w' .. place .. char(b % (B_PRIORITY + 1)) .. now6
      lane[same] = members
    end
    counts[p] = (counts[p] or 0) + 1
    if mode >= MODE_CLOCKS then
      local instant, ms = unpk('>BI6', plans, o + PLAN_INSTANT)
      local runat = now + ms
      if instant == 1 then runat = ms > now and ms or now end
      if runat > now then
        local run6 = pack('>I6', runat)
        head = char(a, b - B_NOW) .. now6 .. run6
        members = sub(members, 1, -7) .. run6
      end
      if key ~= '' then
        local till, fromenq, window, ttl = unpk('>BBI6I6', plans, o + PLAN_UNTIL)
        local anchor, frees = fromenq == 1 and now or runat, TIME_NEVER
        if till == UNTIL_DUE then
          frees = anchor + window
          if runat > frees then frees = runat end
        elseif till == UNTIL_WINDOW_ENDS then
          frees, till = anchor + window, UNTIL_CAME
        end
        if ttl > 0 and anchor + ttl < frees then frees = anchor + ttl end
        if frees <= now then
          key = ''
        elseif frees < TIME_NEVER then
          row = pack(KEYROW_FORMAT, 0, KEYROW_CLOCK, till, frees, now, #id, id, 0, '')
          add[na + 1], add[na + 2] = '0', 'x' .. pack('>I6', frees) .. key
          na = na + 2
        end
      end
    end
    setjobs[nj + 1], setjobs[nj + 2] = id, head .. rest
    nj = nj + 2
    if #rest > BODY_LARGE then
      local cover = unpk('>I3', plans, o + PLAN_COVER)
      if cover > 0 then
        cover = cover + 12 + #ARGV[base + n + i] -- behind REF, nonce and key
        setjobs[nj + 1], setjobs[nj + 2] = '\0' .. id, head .. sub(rest, 1, cover) .. pack('>I4', #rest - cover)
        nj = nj + 2
      end
    end
    if key ~= '' then
      setkeys[nk + 1], setkeys[nk + 2] = key, row
      nk = nk + 2
    end
    add[na + 1], add[na + 2] = '0', members .. id
    na = na + 2
    if #id == SIZE and byte(id, ID_NUL) == 0 then
      nc = nc + 1
      comes[nc], new[i] = id, true
    else
      add[na + 1], add[na + 2] = '0', 'j' .. id
      na = na + 2
    end
  else
    hard[#hard + 1] = i
  end
  status[i] = became
  if became == 'd' then plain = false end
end

local met, errors = nh > 0 and call('HMGET', jobs, unpack(holders)), {}
for k = 2, nh, 2 do
  if met[k] then errors[k] = call('HGET', jobs, '\0\0' .. holders[k - 1]) or '' end
end

-- The new IDs go to the open page if they are above all IDs there and have
-- room. Else pages.lua finds their places.
if ARGV[7] ~= '' and nc > 1 then
  nc = 0
  for p = 1, #ARGV[7], 2 do
    local i = unpk('>I2', ARGV[7], p)
    if new[i] then
      nc = nc + 1
      comes[nc] = ARGV[base + i]
    end
  end
end
if nc > 0 then
  local open, fits = known[1] or string.rep('\0', SIZE), false
  if #open <= (PAGE - nc) * SIZE then fits = above(comes[1], open) end
  if fits then
    setjobs[nj + 1], setjobs[nj + 2] = '\0\0\0', open .. table.concat(comes)
  else
    book(comes, open, setjobs, add)
  end
end
if nj > 0 then
  nj = #setjobs
  if form2 then
    for p, more in pairs(counts) do
      setjobs[nj + 1], setjobs[nj + 2] = ARGV[base - np + p], (tonumber(known[1 + p]) or 0) + more
      nj = nj + 2
    end
  end
  call('HSET', jobs, unpack(setjobs)) -- fails when memory is full, before anything was written
  if nk > 0 then call('HSET', keys, unpack(setkeys)) end
  call('ZADD', ix, unpack(add))
  for q, kinds in pairs(loud) do -- somebody waits for jobs like these
    local row, message, waits, at = got[2 + q], ARGV[2] .. sub(ARGV[9 + q], 2), '', QUEUE_SIZE + 7
    if not form2 then call('PUBLISH', ARGV[3], message) end
    for kind in pairs(kinds) do call('PUBLISH', ARGV[3], message .. '\0' .. sub(kind, 2)) end
    while at <= #row do -- the others go on waiting
      local kind = sub(row, at, at + byte(row, at))
      if not kinds[kind] then waits = waits .. kind end
      at = at + #kind
    end
    if waits ~= '' then waits = sub(row, QUEUE_SIZE + 1, QUEUE_SIZE + 6) .. waits end
    call('HSET', meta, ARGV[9 + q], sub(row, 1, QUEUE_PAUSED) .. '\0' .. sub(row, QUEUE_BEHIND, QUEUE_SIZE) .. waits)
  end
end
if plain then return {ARGV[1], stamp, {}, ''} end

local woken = {}
if #hard > 0 then
  local answers
  answers, woken = judge(hard, now)
  for _, i in ipairs(hard) do
    if answers[i] == ANSWER_INSERTED then
      status[i] = 'i'
    else
      detail[i] = answers[i]
    end
  end
end
local reply = {ARGV[1], stamp, woken, ''}
local nr = 4
nh = 0
for i = 1, n do
  local became = status[i]
  if became == 's' or became == 'r' then
    nh = nh + 2
    reply[nr + 1], reply[nr + 2] = taken[i], met[nh - 1] or ''
    nr = nr + 2
    if met[nh] then
      status[i] = string.upper(became)
      reply[nr + 1], reply[nr + 2] = met[nh], errors[nh]
      nr = nr + 2
    end
  elseif detail[i] then
    nr = nr + 1
    reply[nr] = detail[i]
  end
end
reply[4] = table.concat(status)
return reply
