-- finish.lua ends runs.
--
-- ARGV  4 how many follow, no ID twice: for each
--       ID, worker, spec (run, state, flags: 1 = rescue, 2 = the attempt is not spent; delay), error (packed, or '')
-- reply after the three: for each 2 bytes (status: 0 = done, 1 = lost, 2 = gone; state) and the queue in which a job became due
local n = tonumber(ARGV[4])
if not start({}) then return {ARGV[1], false} end
local reply = {ARGV[1], now6, wokenlist}

-- The common case is done without the model: a job completes, is discarded or cancelled by the worker that runs it, and its key has nobody
-- behind it and is free from now on, or stays as it is.
local fields, names, row, hard, slow = {}, {}, {}, {}, {}
for i = 1, n do fields[i] = '\0' .. ARGV[4 * i + 1] end
local heads = hmget(jobs, fields)
for i = 1, n do
  local s, spec = heads[i], ARGV[4 * i + 3]
  local state, flags = byte(spec, 6, 7)
  local quick = false
  if s and state >= COMPLETED and ARGV[4 * i + 4] == '' and flags == 0 then
    local a, b = byte(s, 1, 2)
    if a < 128 and band(a, 7) == RUNNING and band(b, 112) == 16 then
      local key = band(a, 32) ~= 0
      local o = key and 59 or 27
      local worker = ARGV[4 * i + 2]
      if sub(s, o + 6, o + 10) == sub(spec, 1, 5) and sub(s, o + 36, o + 36 + #worker) == char(#worker) .. worker then
        quick = true
        if key then
          names[#names + 1] = sub(s, 27, 58)
          row[i] = #names
        end
      end
    end
  end
  if not quick then slow[i] = true end
end
local taken = hmget(keys, names)
for i = 1, n do
  if not slow[i] and row[i] then
    local s, state, id, k = heads[i], byte(ARGV[4 * i + 3], 6), ARGV[4 * i + 1], taken[row[i]]
    local p = profile(sub(s, 15, 18))
    local quick = unpk('>I6', s, 70) <= now -- the anchor
    if quick and k then
      local short = k == id
      quick = short or byte(k) == 0 and byte(k, 2) == 1 and byte(k, 3) ~= 0 and unpk('>Bc0', k, 16) == id and byte(k, 17 + #id) == 0
      if quick and ends(p.till, state) then
        quick = p.window == 0
      elseif quick then
        quick = p.retention > 0 and short
      end
    end
    if not quick then
      slow[i] = true
      hard[names[row[i]]] = true
    end
  elseif slow[i] and heads[i] then
    local j = readhead(ARGV[4 * i + 1], heads[i])
    if j.key then hard[j.key] = true end
  end
end

local NEVER6 = pack('>I6', NEVER)
local set, del, kdel, add, rem, goes = {}, {}, {}, {}, {}, {}
local ids = {}
for i = 1, n do
  local id = ARGV[4 * i + 1]
  if slow[i] or row[i] and hard[names[row[i]]] then
    slow[i] = true
    ids[#ids + 1] = id
  else
    local s, state = heads[i], byte(ARGV[4 * i + 3], 6)
    local key = row[i] and names[row[i]]
    local o = key and 59 or 27
    local p = profile(sub(s, 15, 18))
    local worker = ARGV[4 * i + 2]
    rem[#rem + 1] = 'r' .. char(#worker) .. worker .. sub(s, o + 29, o + 34) .. id
    if key and taken[row[i]] and ends(p.till, state) then
      local k = taken[row[i]]
      kdel[#kdel + 1] = key
      if k ~= id and sub(k, 4, 9) ~= NEVER6 then rem[#rem + 1] = 'x' .. sub(k, 4, 9) .. key end
    end
    local q = qmade(p.queue)
    q[3] = q[3] - 1
    if p.retention > 0 then
      set[#set + 1] = '\0' .. id
      set[#set + 1] = char(byte(s) - RUNNING + state) .. sub(s, 2, o + 22) .. now6 .. sub(s, o + 29)
      add[#add + 1] = '0'
      add[#add + 1] = 'f' .. pack('>I6', now + p.retention) .. id
      if state > COMPLETED then
        add[#add + 1] = '0'
        add[#add + 1] = 's' .. char(state) .. id
      end
      q[state + 1] = q[state + 1] + 1
    else
      del[#del + 1], del[#del + 2], del[#del + 3] = id, '\0' .. id, '\0\0' .. id
      if packed(id) then goes[#goes + 1] = id else rem[#rem + 1] = 'j' .. id end
    end
    reply[3 + i] = '\0' .. char(state)
  end
end

local m
if #ids > 0 then
  m = model()
  m.loadwith(ids)
  for i = 1, n do
    if slow[i] then
      local a = 4 * i + 1
      local j = m.job(ARGV[a])
      local run, state, flags, delay = unpk('>I5BBI6', ARGV[a + 2])
      local answer
      if not j then
        answer = '\2\0'
      elseif j.run == run and j.state == RUNNING and (j.worker == ARGV[a + 1] or band(flags, 1) ~= 0) then
        local as, woke = m.finishrun(j, ARGV[a + 1], state, delay, band(flags, 2) ~= 0, ARGV[a + 3])
        answer = '\0' .. char(as) .. (woke or '')
      elseif j.run == run and j.state ~= RUNNING and j.worker == ARGV[a + 1] then
        answer = '\0' .. char(j.state) -- a repeat
      else
        answer = '\1\0'
      end
      reply[3 + i] = answer
    end
  end
end

if not m then idpages({}, goes, true, set, del, add, rem) end
pieces('ZREM', ix, rem) -- never refused for want of memory, and then nothing else is
if m then m.flush(goes) end
pieces('HSET', jobs, set)
pieces('HDEL', jobs, del)
pieces('HDEL', keys, kdel)
pieces('ZADD', ix, add)
qsave()
return reply
