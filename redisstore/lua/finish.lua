-- finish.lua ends runs.
--
--   ARGV  4 how many follow, no ID twice; for each
--           ID
--           spec: run, state, flags (1 = rescue, 2 = the attempt is not spent,
--           4 = it has a result),
--           delay, worker (with a byte of length), error (packed, or nothing)
--         then the results
--   reply after the three: 2 bytes for each run (status, state), then the queues of
--   those with status 3
--         status 0 = done, 1 = lost, 2 = gone, 3 = done, and a queue has a due job
local n = tonumber(ARGV[4])
local got, unknown = start({})
if not got then return unknown end

-- Most specs of a batch are the same.
local specs = {}
for i = 6, 2 * n + 4, 2 do
  local text = ARGV[i]
  if not specs[text] then
    local state, flags = byte(text, SPEC_STATE, SPEC_FLAGS)
    local long = byte(text, SPEC_WORKER)
    specs[text] = {run = sub(text, SPEC_RUN, SPEC_STATE - 1), state = state,
      worker = sub(text, SPEC_WORKER, SPEC_WORKER + long), long = long,
      ends = state >= STATE_COMPLETED and band(flags, SPEC_RESULT) == flags and #text == SPEC_WORKER + long,
      result = band(flags, SPEC_RESULT) ~= 0, reply = '\0' .. char(state)}
  end
end

local results, at = {}, 2 * n + 5
for i = 1, n do
  if specs[ARGV[2 * i + 4]].result then results[i], at = ARGV[at], at + 1 end
end

-- The common case needs no model: a job is completed, discarded or
-- cancelled by the worker that runs it, and its key has no waiter, and
-- becomes free now or stays as it is.
local fields, names, row, prof, hard = {}, {}, {}, {}, {}
local nk = 0
for i = 1, n do fields[i] = '\0' .. ARGV[2 * i + 3] end
local heads = hmget(jobs, fields)
for i = 1, n do
  local s, spec = heads[i], specs[ARGV[2 * i + 4]]
  if s and spec.ends then
    local a, b = byte(s, 1, 2)
    if a < A_CANCEL and band(a, A_STATE) == STATE_RUNNING and band(b, B_LONG + B_NOW + B_INLINE) == B_LONG then
      local key = band(a, A_KEY) ~= 0
      local o = key and HEAD_SIZE or HEAD_KEY - 1 -- what LONG begins behind
      if sub(s, o + LONG_RUN, o + LONG_ANCHOR - 1) == spec.run and
        sub(s, o + LONG_WORKER, o + LONG_WORKER + spec.long) == spec.worker then
        prof[i] = profile(sub(s, HEAD_REF, HEAD_NONCE - 1))
        if key then
          nk = nk + 1
          names[nk], row[i] = sub(s, HEAD_KEY, HEAD_SIZE), nk
        end
      end
    end
  end
end
local taken = hmget(keys, names)
for i = 1, n do
  local s, p = heads[i], prof[i]
  if p and row[i] then
    local k = taken[row[i]]
    local quick = unpk('>I6', s, HEAD_SIZE + LONG_ANCHOR) <= now -- the anchor has passed
    if quick and k then
      local id = ARGV[2 * i + 3]
      local short = k == id
      quick = short or byte(k) == 0 and byte(k, KEYROW_FORM) == KEYROW_CLOCK and
        byte(k, KEYROW_PENDING) ~= UNTIL_CAME and unpk('>Bc0', k, KEYROW_HOLDER) == id and
        byte(k, KEYROW_HOLDER + 1 + #id) == 0
      if quick and ends(p.till, specs[ARGV[2 * i + 4]].state) then
        quick = p.window == 0
      elseif quick then
        quick = keeps(p, specs[ARGV[2 * i + 4]].state) > 0 and short
      end
    end
    if not quick then
      prof[i] = nil
      hard[names[row[i]]] = true
    end
  elseif s and not p then
    local j = readhead(ARGV[2 * i + 3], s)
    if j.key then hard[j.key] = true end
  end
end

local NEVER6 = pack('>I6', NEVER)
local set, del, kdel, add, rem, goes, ids, answers, woke = {}, {}, {}, {}, {}, {}, {}, {}, {}
local ended = {} -- what stands before the IDs of jobs that are kept so long
local ns, na, nr = 0, 0, 0
for i = 1, n do
  local id, p = ARGV[2 * i + 3], prof[i]
  local key = row[i] and names[row[i]]
  if not p or key and hard[key] then
    prof[i] = nil
    ids[#ids + 1] = id
  else
    local s, spec = heads[i], specs[ARGV[2 * i + 4]]
    local state, o = spec.state, key and HEAD_SIZE or HEAD_KEY - 1
    nr = nr + 1
    rem[nr] = 'r' .. spec.worker .. sub(s, o + LONG_FETCH, o + LONG_ENCODING - 1) .. id
    local k = key and taken[row[i]]
    if k and ends(p.till, state) then
      kdel[#kdel + 1] = key
      if k ~= id and sub(k, KEYROW_FREES, KEYROW_SINCE - 1) ~= NEVER6 then
        nr = nr + 1
        rem[nr] = 'x' .. sub(k, KEYROW_FREES, KEYROW_SINCE - 1) .. key
      end
    end
    local q = qmade(p.queue)
    q[COUNT_RUNNING] = q[COUNT_RUNNING] - 1
    local kept = keeps(p, state)
    if kept > 0 then
      set[ns + 1], set[ns + 2] = fields[i], char(byte(s) - STATE_RUNNING + state) ..
        sub(s, HEAD_B, o + LONG_FINISHED - 1) .. now6 .. sub(s, o + LONG_FETCH)
      ns = ns + 2
      if results[i] then
        set[ns + 1], set[ns + 2] = RESULT .. id, results[i]
        ns = ns + 2
      end
      ended[kept] = ended[kept] or 'f' .. pack('>I6', now + kept)
      add[na + 1], add[na + 2] = '0', ended[kept] .. id
      na = na + 2
      if state > STATE_COMPLETED then
        add[na + 1], add[na + 2] = '0', 's' .. char(state) .. id
        na = na + 2
      end
      q[state + 1] = q[state + 1] + 1
    else
      del[#del + 1], del[#del + 2], del[#del + 3] = id, fields[i], '\0\0' .. id
      count(sub(s, HEAD_REF, HEAD_NONCE - 1), -1)
      if packed(id) then
        goes[#goes + 1] = id
      else
        nr = nr + 1
        rem[nr] = 'j' .. id
      end
    end
    answers[i] = spec.reply
  end
end

local m
if #ids > 0 then
  m = model()
  m.loadwith(ids)
  local failed = {}
  for i = 1, n do
    local text = ARGV[2 * i + 4]
    local j = not prof[i] and #text > SPEC_WORKER + specs[text].long and m.job(ARGV[2 * i + 3])
    if j then failed[#failed + 1] = j end
  end
  m.errors(failed)
  for i = 1, n do
    if not prof[i] then
      local text = ARGV[2 * i + 4]
      local j, spec = m.job(ARGV[2 * i + 3]), specs[text]
      local run, state, flags, delay = unpk('>I5BBI6', text)
      local worker = sub(spec.worker, 2)
      if not j then
        answers[i] = '\2\0'
      elseif j.run == run and j.state == STATE_RUNNING and
        (j.worker == worker or band(flags, SPEC_RESCUE) ~= 0) then
        local giveback, err = band(flags, SPEC_GIVEBACK) ~= 0, sub(text, SPEC_WORKER + 1 + spec.long)
        local as, queue = m.finishrun(j, worker, state, delay, giveback, err)
        if results[i] and as >= STATE_COMPLETED and m.job(j.id) then
          set[ns + 1], set[ns + 2] = RESULT .. j.id, results[i]
          ns = ns + 2
        end
        answers[i] = (queue and '\3' or '\0') .. char(as)
        woke[#woke + 1] = queue
      elseif j.run == run and j.state ~= STATE_RUNNING and j.worker == worker then
        answers[i] = '\0' .. char(j.state) -- a repeat
      else
        answers[i] = '\1\0'
      end
    end
  end
end

if not m then idpages({}, goes, true, set, del, add, rem) end
begin(rem)
if m then m.flush(goes) end
pieces('HSET', jobs, set)
pieces('HDEL', jobs, del)
pieces('HDEL', keys, kdel)
pieces('ZADD', ix, add)
savecounts()
qsave()
local reply = {ARGV[1], stamp, wokenlist, table.concat(answers)}
for i, queue in ipairs(woke) do reply[4 + i] = queue end
return reply
