-- judge.lua, after the library, is the body of the function judge(rows).
-- enqueue.lua calls it for rows that are not plain; rows has their numbers.
-- It returns the answer for each row, and what to wake.
local got = start({'PN'})
local profiles = tonumber(got[1]) or 0
local PROFILES, PLAN = 10000, 44 -- how many profiles there are at most; bytes of a plan
local nq, np, n = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local base, plans = 9 + nq + 3 * np, ARGV[9]

local ref, fresh = {}, {}
-- profileof is the name of a profile; or the whole profile, kept with each
-- row, if there are too many.
local function profileof(i)
  if ref[i] then return ref[i] end
  local name, content = ARGV[9 + nq + i], ARGV[9 + nq + np + i]
  local there = call('HGET', meta, name)
  ref[i] = sub(name, 2)
  if there ~= content then
    if there or profiles + #fresh >= PROFILES then
      ref[i] = content
    else
      fresh[#fresh + 1] = i
      profof[ref[i]] = readprofile(content) -- it is not in meta yet
    end
  end
  return ref[i]
end

-- saveprofiles puts into meta those that a job has by now, or had.
local function saveprofiles()
  local set = metaset
  for _, i in ipairs(fresh) do
    if wanted[ref[i]] then
      profiles = profiles + 1
      set[#set + 1], set[#set + 2] = ARGV[9 + nq + i], ARGV[9 + nq + np + i]
      set[#set + 1], set[#set + 2] = 'PN', profiles
    end
  end
end

local m = model()
grows = true
local answers, ids, names = {}, {}, {}
for k, i in ipairs(rows) do
  ids[k] = ARGV[base + i]
  if ARGV[base + n + i] ~= '' then names[#names + 1] = ARGV[base + n + i] end
end
m.load(ids)
m.loadkeys(names)
local more, morekeys = {}, {}
for _, id in ipairs(ids) do -- for the answer to a call that was sent twice
  local j = m.job(id)
  if j then
    if j.displaced ~= '' then more[#more + 1] = j.displaced end
    if j.key then morekeys[#morekeys + 1] = j.key end
  end
end
m.load(more)
m.loadkeys(morekeys)
m.bodies(m.all(), true)

local function triple(j) return {m.triple(j, true)} end
local function whole(j) return {j.id, m.triple(j, true)} end

for _, i in ipairs(rows) do
  local id, key, rest = ARGV[base + i], ARGV[base + n + i], ARGV[base + 2 * n + i]
  local o = PLAN * (i - 1)
  local b, _, _, prof, _, kind, ms, onscheduled, onavailable, onretryable, onrunning, onended, fields, maxwait =
    unpk('>BBBBI2BI6BBBBBBI6', plans, o + 2)
  local j = m.job(id)
  if j then
    -- The ID exists. A call that was sent twice has the same nonce.
    if j.nonce == sub(rest, 5, 12) then
      local k = j.key and m.keyrow(j.key)
      local other = j.displaced ~= '' and m.job(j.displaced)
      answers[i] = {2, j.origin, triple(j), k and m.krow(k) or false, other and triple(other) or false}
    else
      answers[i] = {3, triple(j)}
    end
  else
    local ref = profileof(prof)
    local r = {id = id, state = SCHEDULED, origin = 0, prio = band(b, 15), enq = now, ref = ref, prof = profile(ref),
      nonce = sub(rest, 5, 12), attempt = 0, run = 0, anchor = 0, started = 0, finished = 0, fetch = 0,
      worker = '', behind = '', displaced = '', superseded = '', at = 13, full = rest}
    r.max, r.enc = r.prof.max, r.prof.enc
    if kind == 1 then
      r.runat = max(now, ms)
    else
      r.runat = now + ms
    end
    r.made = b >= 128
    if key ~= '' then r.key, r.at = key, 45 end
    local cover = unpk('>I3', plans, o + 42)
    if cover > 0 then r.cover = sub(rest, r.at, r.at + cover - 1) .. pack('>I4', #rest - r.at + 1 - cover) end
    local k = key ~= '' and m.keyrow(key)
    if key == '' then
      m.insert(r, 0, '', '')
      answers[i] = 1
    elseif not m.held(k) then
      m.insert(r, 0, '', '')
      m.take(r)
      answers[i] = 1
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
      if action <= 1 then -- answer, refuse
        was[2] = action
      elseif action == 2 then -- write
        m.write(holder, r, fields)
        if band(fields, 8) ~= 0 then m.moverun(holder, r.runat) end
        was[2], was[5] = 2, whole(holder)
      elseif action == 3 then -- push back
        m.write(holder, r, 1)
        m.moverun(holder, max(now, min(r.runat, holder.enq + maxwait)))
        was[2], was[5] = 2, whole(holder)
      elseif action == 4 or action == 5 then -- merge, stand
        if k.next ~= '' then
          local w = m.job(k.next)
          m.renew(w, r)
          was[2], was[5] = 2, whole(w)
        elseif holder.behind ~= '' then -- a clock has passed the key to the waiter
          m.renew(holder, r)
          was[2], was[5] = 2, whole(holder)
        elseif action == 5 then
          m.insert(r, 1, holder.id, holder.id)
          m.stand(k, r)
          was[2], was[5] = 3, whole(r)
        else
          m.write(holder, r, 1)
          if r.runat < holder.runat and holder.state ~= RETRYABLE then m.moverun(holder, r.runat) end
          was[2], was[5] = 2, whole(holder)
        end
      else -- take
        m.supersede(holder, k, r)
        was[2], was[5] = 4, whole(r)
      end
      answers[i] = was
    end
  end
end
m.flush()
saveprofiles()
qsave()
return answers, wokenlist
