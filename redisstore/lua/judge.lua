-- judge.lua, behind lib.lua, pages.lua and model.lua, is the body of the function judge(rows) that enqueue.lua calls for what is not plain:
-- rows are the numbers of those rows. It returns the answers by row, and the queues that were woken.
local got = start({'PN'})
local count = tonumber(got[1]) or 0
local nq, np, n = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local base, plans = 9 + nq + 2 * np, ARGV[9]

local ref = {}
-- profileof is the name of a profile, which is put into meta where it is not there; or all of it, where meta has too many.
local function profileof(i)
  if ref[i] then return ref[i] end
  local name, content = ARGV[9 + nq + i], ARGV[9 + nq + np + i]
  local there = call('HGET', meta, name)
  if there == content then
    ref[i] = sub(name, 2)
  elseif not there and count < 1000 then
    ref[i] = sub(name, 2)
    count = count + 1
    local k = #metaset
    metaset[k + 1], metaset[k + 2], metaset[k + 3], metaset[k + 4] = name, content, 'PN', count
    local p = {}
    p.kind, p.queue, p.enc, p.max, p.timeout, p.retention, p.till, p.window, p.ttl, p.fromenq = unpk('>Bc0Bc0BI3I6I6BI6I6B', content)
    profof[ref[i]] = p -- it is not in meta yet
  else
    ref[i] = content -- told with each row
  end
  return ref[i]
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
for _, id in ipairs(ids) do -- what an echo tells
  local j = m.job(id)
  if j then
    if j.displaced ~= '' then more[#more + 1] = j.displaced end
    if j.key then morekeys[#morekeys + 1] = j.key end
  end
end
m.load(more)
m.loadkeys(morekeys)

local function triple(j) return {m.triple(j)} end
local function named(j) return {j.id, m.triple(j)} end

for _, i in ipairs(rows) do
  local id, key, rest = ARGV[base + i], ARGV[base + n + i], ARGV[base + 2 * n + i]
  local b, _, _, prof, _, kind, ms, onscheduled, onavailable, onretryable, onrunning, onended, fields, maxwait =
    unpk('>BBBBI2BI6BBBBBBI6', plans, 41 * (i - 1) + 2)
  local j = m.job(id)
  if j then
    -- The ID exists. Its own echo has the same nonce.
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
    if key ~= '' then r.key, r.at = key, 45 end
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
      answers[i] = was
    end
  end
end
m.flush()
qsave()
return answers, wokenlist
