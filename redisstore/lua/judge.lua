-- judge.lua, after the library, is the body of the function judge(rows, at).
-- enqueue.lua calls it for rows that are not plain; rows has their numbers,
-- and at is the time that enqueue.lua has read.
-- It returns the answer for each row, and what to wake.
--
--   profileof, saveprofiles  the names of profiles, and those that are new
--   triple, whole            a job as it is answered
-- A row that meets its own ID is answered; else it takes its key, or does
-- to the holder what the action for the state of the holder says.
local got = start({'PN'}, at)
local profiles = tonumber(got[1]) or 0
local PROFILES = 10000 -- how many profiles there are at most
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
  local nonce = sub(rest, 5, 12) -- behind REF
  local o = #plans == PLAN_SIZE and 0 or PLAN_SIZE * (i - 1)
  local b, _, _, prof, _, instant, ms, onscheduled, onavailable, onretryable, onrunning, onended, fields, maxwait =
    unpk('>BBBBI2BI6BBBBBBI6', plans, o + 2)
  local j = m.job(id)
  if j then
    -- The ID exists. A call that was sent twice has the same nonce.
    if j.nonce == nonce then
      local k = j.key and m.keyrow(j.key)
      local other = j.displaced ~= '' and m.job(j.displaced)
      answers[i] = {ANSWER_ECHO, j.origin, triple(j), k and m.krow(k) or false, other and triple(other) or false}
    else
      answers[i] = {ANSWER_ID, triple(j)}
    end
  else
    local ref = profileof(prof)
    local r = {id = id, state = STATE_SCHEDULED, origin = ORIGIN_INSERTED, prio = band(b, B_PRIORITY), enq = now,
      ref = ref, prof = profile(ref), nonce = nonce,
      attempt = 0, run = 0, anchor = 0, started = 0, finished = 0, fetch = 0,
      worker = '', behind = '', displaced = '', superseded = '', at = 13, full = rest}
    r.max, r.enc = r.prof.max, r.prof.enc
    if instant == 1 then
      r.runat = max(now, ms)
    else
      r.runat = now + ms
    end
    r.made = b >= B_MADE
    if key ~= '' then r.key, r.at = key, 45 end
    local cover = unpk('>I3', plans, o + PLAN_COVER)
    if cover > 0 then r.cover = sub(rest, r.at, r.at + cover - 1) .. pack('>I4', #rest - r.at + 1 - cover) end
    local k = key ~= '' and m.keyrow(key)
    if key == '' then
      m.insert(r, ORIGIN_INSERTED, '', '')
      answers[i] = ANSWER_INSERTED
    elseif not m.held(k) then
      m.insert(r, ORIGIN_INSERTED, '', '')
      m.take(r)
      answers[i] = ANSWER_INSERTED
    else
      local shown, holder = m.kview(k)
      local action = onended
      if holder then
        if holder.state == STATE_RUNNING then
          action = onrunning
        elseif holder.state > STATE_RUNNING then
          action = onended
        elseif due(holder) then
          action = onavailable
        else
          action = holder.state == STATE_SCHEDULED and onscheduled or onretryable
        end
      end
      local was = {ANSWER_KEY, OUTCOME_SKIPPED, m.krow(shown), holder and triple(holder) or false, false}
      if action > ACTION_REFUSE then m.settle(k) end
      if action <= ACTION_REFUSE then
        was[2] = action == ACTION_ANSWER and OUTCOME_SKIPPED or OUTCOME_REJECTED
      elseif action == ACTION_WRITE then
        m.write(holder, r, fields)
        if band(fields, FIELD_RUNAT) ~= 0 then m.moverun(holder, r.runat) end
        was[2], was[5] = OUTCOME_REPLACED, whole(holder)
      elseif action == ACTION_PUSHBACK then
        m.write(holder, r, FIELD_ARGS)
        m.moverun(holder, max(now, min(r.runat, holder.enq + maxwait)))
        was[2], was[5] = OUTCOME_REPLACED, whole(holder)
      elseif action == ACTION_MERGE or action == ACTION_STAND then
        if k.next ~= '' then
          local w = m.job(k.next)
          m.renew(w, r)
          was[2], was[5] = OUTCOME_REPLACED, whole(w)
        elseif holder.behind ~= '' then -- a clock has passed the key to the waiter
          m.renew(holder, r)
          was[2], was[5] = OUTCOME_REPLACED, whole(holder)
        elseif action == ACTION_STAND then
          m.insert(r, ORIGIN_COALESCED, holder.id, holder.id)
          m.stand(k, r)
          was[2], was[5] = OUTCOME_COALESCED, whole(r)
        else
          m.write(holder, r, FIELD_ARGS)
          if r.runat < holder.runat and holder.state ~= STATE_RETRYABLE then m.moverun(holder, r.runat) end
          was[2], was[5] = OUTCOME_REPLACED, whole(holder)
        end
      else -- ACTION_TAKE
        m.supersede(holder, k, r)
        was[2], was[5] = OUTCOME_SUPERSEDED, whole(r)
      end
      answers[i] = was
    end
  end
end
m.flush()
saveprofiles()
qsave()
return answers, wokenlist
