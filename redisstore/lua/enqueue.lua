-- enqueue.lua accepts rows, as if one after another.
--
-- ARGV  4 queues, 5 profiles, 6 rows: how many of each follow; 7 the rows in the order of their IDs
--       (2 bytes each; '' = as they come)
--       a name for each queue; REF, content for each profile; and for each row
--       ID
--       key       or ''
--       plan      2 bytes of a head (for a row due now); mode: 0 = plain: due now, held until an event, and it writes to nobody; 1 = plain
--                 unless it meets somebody; 2 = any other; 3 = a follower: it has only an ID, and the number of the row of the same key
--                 that it repeats; queue; profile; leader; time (0 = delay, 1 = instant); milliseconds; reactions to scheduled,
--                 available, retryable, running and ended; fields; max wait
--       rest      what follows the instants in a row: REF, nonce, key, body
-- reply after the three: for each row
--       1                                       inserted
--       {2, outcome, job, key row, displaced}   an echo of its own
--       {3, job}                                the ID is taken
--       {4, outcome, key row, holder, job}      the key is held: job is {ID, row, head, errors}, or false where it is the holder as it was
--       {outcome, key row, row, head, errors}   the same, of a row that writes to nobody; outcome 10 = skipped, 11 = rejected
--       5                                       as its leader
--       6                                       its ID is taken, or its leader's: send it again as a row of its own
--       a job is {row, head, errors}, or false
local nq, np, n = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local MEEK, PLAIN, FOLLOWER = 0, 1, 3
local at = 7

local fields = {}
for i = 1, nq do fields[i] = 'q' .. ARGV[at + i] end
at = at + nq
for i = 1, np do fields[nq + i] = 'P' .. ARGV[at + 2 * i - 1] end
fields[nq + np + 1], fields[nq + np + 2] = 'PN', 'I'
local got = start(fields)
if not got then return {ARGV[1], false} end
local queue, ref, putprofiles = {}, {}, {}
for i = 1, nq do
  queue[i] = ARGV[7 + i]
  qread(queue[i], got[i])
end
local count = tonumber(got[nq + np + 1]) or 0
open = got[nq + np + 2] or BOTTOM
for i = 1, np do
  local name, content, there = ARGV[at + 2 * i - 1], ARGV[at + 2 * i], got[nq + i]
  if there == content then
    ref[i] = name
  elseif not there and count < 1000 then
    ref[i] = name
    count = count + 1
    local k = #putprofiles
    putprofiles[k + 1], putprofiles[k + 2] = 'P' .. name, content
    if n > 0 then
      local p = {}
      p.kind, p.queue, p.enc, p.max, p.timeout, p.retention, p.till, p.window, p.ttl, p.fromenq = unpk('>Bc0Bc0BI3I6I6BI6I6B', content)
      profof[name] = p -- it is not in meta yet
    end
  else
    ref[i] = content -- told with each row
  end
end
at = at + 2 * np

-- What is there under these IDs and keys.
local ids, names, row = {}, {}, {}
for i = 1, n do
  local a = at + 4 * i - 3
  ids[i] = ARGV[a]
  if ARGV[a + 1] ~= '' then
    names[#names + 1] = ARGV[a + 1]
    row[i] = #names
  end
end
local known, taken = hmget(jobs, ids), hmget(keys, names)

local reply, slow, holders, met = {ARGV[1], now6, wokenlist}, {}, {}, {}
local setjobs, setkeys, add, comes = {}, {}, {}, {}
local nj, nk, na, nh, nc = 0, 0, 0, 0, 0
local prefix, lanes, new = {}, {}, {}
for i = 1, n do
  local a = at + 4 * i - 3
  local id, key, plan = ids[i], ARGV[a + 1], ARGV[a + 2]
  local mode, q = byte(plan, 3, 4)
  local held = row[i] and taken[row[i]]
  if mode == FOLLOWER then
    reply[3 + i] = (known[i] or known[unpk('>I2', plan, 6)]) and 6 or 5
  elseif known[i] then
    slow[#slow + 1] = i
  elseif mode == MEEK and held then
    -- A holder with clocks that have run out, and one that is gone or has somebody behind, the model judges.
    local form, holder = byte(held), nil
    if form == 0 then
      holder = sub(held, 2)
    elseif form == 1 and now < unpk('>I6', held, 3) then
      holder = unpk('>Bc0', held, 15)
      if byte(held, 16 + #holder) ~= 0 then holder = nil end
    end
    if holder then
      holders[nh + 1], holders[nh + 2] = holder, '\0' .. holder
      nh = nh + 2
      met[#met + 1] = i
      reply[3 + i] = {10 + byte(plan, 15), held}
    else
      slow[#slow + 1] = i
    end
  elseif mode <= PLAIN and not held and #ref[byte(plan, 5)] == 4 then
    setjobs[nj + 1], setjobs[nj + 2] = id, sub(plan, 1, 2) .. now6 .. ARGV[a + 3]
    nj = nj + 2
    if row[i] then
      setkeys[nk + 1], setkeys[nk + 2] = key, '\0' .. id
      nk = nk + 2
    end
    local lane = lanes[q]
    if not lane then
      lane = qmade(queue[q])
      lanes[q] = lane
      wake(queue[q])
    end
    lane[1] = lane[1] + 1
    local b = byte(plan, 2)
    local w = prefix[256 * q + b]
    if not w then
      w = 'w' .. pack('>I3B', lane.no, band(b, 15)) .. now6
      prefix[256 * q + b] = w
    end
    add[na + 1], add[na + 2] = 0, w .. id
    na = na + 2
    if packed(id) then
      comes[nc + 1], new[i] = id, true
      nc = nc + 1
    else
      add[na + 1], add[na + 2] = 0, 'j' .. id
      na = na + 2
    end
    reply[3 + i] = 1
  else
    slow[#slow + 1] = i
  end
end

if #met > 0 then
  local h = hmget(jobs, holders)
  for k, i in ipairs(met) do
    local r = reply[3 + i]
    r[3] = h[2 * k - 1]
    if h[2 * k] then r[4], r[5] = h[2 * k], call('HGET', jobs, '\0\0' .. holders[2 * k - 1]) end
  end
end

local m
if #slow > 0 then
  m = model()
  m.grows = true
  local sids, skeys = {}, {}
  for k, i in ipairs(slow) do
    sids[k] = ids[i]
    if row[i] then skeys[#skeys + 1] = ARGV[at + 4 * i - 2] end
  end
  m.load(sids)
  m.loadkeys(skeys)
  local more, morekeys = {}, {}
  for _, i in ipairs(slow) do -- what an echo tells
    local j = m.job(ids[i])
    if j then
      if j.displaced ~= '' then more[#more + 1] = j.displaced end
      if j.key then morekeys[#morekeys + 1] = j.key end
    end
  end
  m.load(more)
  m.loadkeys(morekeys)

  local function triple(j) return {m.triple(j)} end
  local function named(j) return {j.id, m.triple(j)} end

  for _, i in ipairs(slow) do
    local a = at + 4 * i - 3
    local id, key, plan, rest = ids[i], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
    local mode, _, prof, _, kind, ms, onscheduled, onavailable, onretryable, onrunning, onended, fields, maxwait = unpk('>BBBI2BI6BBBBBBI6', plan, 3)
    local answer
    local j = m.job(id)
    if j then
      -- The ID exists. Its own echo has the same nonce.
      if j.nonce == sub(rest, 5, 12) then
        local k = j.key and m.keyrow(j.key)
        local other = j.displaced ~= '' and m.job(j.displaced)
        answer = {2, j.origin, triple(j), k and m.krow(k) or false, other and triple(other) or false}
      else
        answer = {3, triple(j)}
      end
    else
      local r = {id = id, state = SCHEDULED, origin = 0, prio = band(byte(plan, 2), 15), enq = now, ref = ref[prof], prof = profile(ref[prof]),
        nonce = sub(rest, 5, 12), attempt = 0, run = 0, anchor = 0, started = 0, finished = 0, fetch = 0,
        worker = '', behind = '', displaced = '', superseded = '', at = 13, full = rest}
      r.max, r.enc = r.prof.max, r.prof.enc
      if kind == 1 then
        r.runat = max(now, ms)
      else
        r.runat = now + ms
      end
      if key ~= '' then r.key, r.at = key, 45 end
      local k = key ~= '' and m.keyrow(key)
      if key == '' then
        m.insert(r, 0, '', '')
        answer = 1
      elseif not m.held(k) then
        m.insert(r, 0, '', '')
        m.take(r)
        answer = 1
      else
        local shown, holder = m.kview(k)
        local action = onended
        if holder then
          if holder.state == RUNNING then
            action = onrunning
          elseif holder.state > RUNNING then
            action = onended
          elseif due(holder) then
            action = onavailable
          else
            action = holder.state == SCHEDULED and onscheduled or onretryable
          end
        end
        local was = {4, 0, m.krow(shown), holder and triple(holder) or false, false}
        if action > 1 then m.settle(k) end
        if action == 0 then
          was[2] = 0
        elseif action == 1 then
          was[2] = 1
        elseif action == 2 then -- write
          m.write(holder, r, fields)
          if band(fields, 8) ~= 0 then m.moverun(holder, r.runat) end
          was[2], was[5] = 2, named(holder)
        elseif action == 3 then -- push back
          m.write(holder, r, 1)
          m.moverun(holder, max(now, min(r.runat, holder.enq + maxwait)))
          was[2], was[5] = 2, named(holder)
        elseif action == 4 or action == 5 then -- merge, stand
          if k.next ~= '' then
            local w = m.job(k.next)
            m.renew(w, r)
            was[2], was[5] = 2, named(w)
          elseif holder.behind ~= '' then -- the key has passed to the waiter already
            m.renew(holder, r)
            was[2], was[5] = 2, named(holder)
          elseif action == 5 then
            m.insert(r, 1, holder.id, holder.id)
            m.stand(k, r)
            was[2], was[5] = 3, named(r)
          else
            m.write(holder, r, 1)
            if r.runat < holder.runat and holder.state ~= RETRYABLE then m.moverun(holder, r.runat) end
            was[2], was[5] = 2, named(holder)
          end
        else -- take
          m.supersede(holder, k, r)
          was[2], was[5] = 4, named(r)
        end
        answer = was
      end
    end
    reply[3 + i] = answer
  end
end

if ARGV[7] ~= '' and nc > 1 then
  comes, nc = {}, 0
  for p = 1, #ARGV[7], 2 do
    local i = unpk('>I2', ARGV[7], p)
    if new[i] then
      comes[nc + 1] = ids[i]
      nc = nc + 1
    end
  end
end
if not m then idpages(comes, {}, true, add, {}) end
pieces('HSET', jobs, setjobs)
if m then m.flush(comes) end
pieces('HSET', keys, setkeys)
pieces('ZADD', ix, add)
if #putprofiles > 0 and (nj > 0 or m) then
  putprofiles[#putprofiles + 1], putprofiles[#putprofiles + 2] = 'PN', count
  for _, v in ipairs(putprofiles) do metaset[#metaset + 1] = v end
end
qsave()
return reply
