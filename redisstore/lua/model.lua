-- model.lua, behind lib.lua and pages.lua, knows what jobs and keys are and how they change.
--
-- The states as they are stored.
local SCHEDULED, RETRYABLE, RUNNING, COMPLETED, DISCARDED, CANCELLED = 0, 1, 2, 3, 4, 5
-- The events.
local DUE, STARTED, FINISHED, SUCCEEDED, FAILED, DELETED, WINDOWENDS = 1, 2, 3, 4, 5, 6, 7

-- ends reports whether a job that finishes in this state brings the event.
local function ends(till, state)
  if till <= FINISHED then return state >= COMPLETED end
  if till == SUCCEEDED then return state == COMPLETED end
  if till == FAILED then return state == DISCARDED or state == CANCELLED end
  return false
end

local profof = {}

-- profile is what many jobs have in common: a row of meta, or inline where meta has too many of them.
local function profile(ref)
  local p = profof[ref]
  if not p then
    local text = ref
    if #ref == 4 then text = call('HGET', meta, 'P' .. ref) end
    p = {}
    p.kind, p.queue, p.enc, p.max, p.timeout, p.retention, p.till, p.window, p.ttl, p.fromenq = unpk('>Bc0Bc0BI3I6I6BI6I6B', text)
    profof[ref] = p
  end
  return p
end

-- readhead reads a head into a table. A head says only what differs from the profile. It also returns where the body begins.
local function readhead(id, s)
  local a, b, enq = unpk('>BBI6', s)
  local j = {id = id, state = band(a, 7), origin = floor(band(a, 24) / 8), keyless = band(a, 64) ~= 0, cancel = a >= 128, prio = band(b, 15), enq = enq}
  local at = 9
  if band(b, 32) ~= 0 then
    j.runat = enq
  else
    j.runat, at = unpk('>I6', s, at)
  end
  if band(b, 64) ~= 0 then
    j.ref, at = unpk('>I2c0', s, at)
  else
    j.ref, at = sub(s, at, at + 3), at + 4
  end
  local p = profile(j.ref)
  j.prof = p
  j.nonce, at = sub(s, at, at + 7), at + 8
  if band(a, 32) ~= 0 then j.key, at = sub(s, at, at + 31), at + 32 end
  if band(b, 16) ~= 0 then
    j.attempt, j.max, j.run, j.anchor, j.started, j.finished, j.fetch, j.enc, j.worker, j.behind, j.displaced, j.superseded, at =
      unpk('>I3I3I5I6I6I6I6BBc0Bc0Bc0Bc0', s, at)
  else
    j.attempt, j.max, j.run, j.started, j.finished, j.fetch, j.enc = 0, p.max, 0, 0, 0, 0, p.enc
    j.worker, j.behind, j.displaced, j.superseded = '', '', '', ''
    j.anchor = 0
    if j.key then j.anchor = p.fromenq == 1 and enq or max(enq, j.runat) end
  end
  return j, at
end

-- writehead is readhead undone.
local function writehead(j)
  local p = j.prof
  local derived = 0
  if j.key then derived = p.fromenq == 1 and j.enq or max(j.enq, j.runat) end
  local ext = j.run > 0 or j.attempt ~= 0 or j.max ~= p.max or j.enc ~= p.enc or j.anchor ~= derived or j.finished ~= 0 or j.worker ~= '' or
    j.behind ~= '' or j.displaced ~= '' or j.superseded ~= ''
  local same = not ext and j.runat == j.enq
  local inline = #j.ref ~= 4
  local s = char(j.state + j.origin * 8 + (j.key and 32 or 0) + (j.keyless and 64 or 0) + (j.cancel and 128 or 0),
    j.prio + (ext and 16 or 0) + (same and 32 or 0) + (inline and 64 or 0)) .. pack('>I6', j.enq)
  if not same then s = s .. pack('>I6', j.runat) end
  if inline then s = s .. pack('>I2', #j.ref) end
  s = s .. j.ref .. j.nonce
  if j.key then s = s .. j.key end
  if ext then
    s = s .. pack('>I3I3I5I6I6I6I6BBc0Bc0Bc0Bc0', j.attempt, j.max, j.run, j.anchor, j.started, j.finished, j.fetch, j.enc,
      #j.worker, j.worker, #j.behind, j.behind, #j.displaced, j.displaced, #j.superseded, j.superseded)
  end
  return s
end

-- due reports whether a job is available.
local function due(j) return j.state <= RETRYABLE and j.behind == '' and j.runat <= now end

-- members lists what stands in ix for a job, beside its place in the list of IDs.
local function members(j)
  local state = j.state
  if state <= RETRYABLE then
    if j.behind ~= '' then return {} end
    local no, at = pack('>I3', qmade(j.prof.queue).no), pack('>I6', j.runat)
    local w = 'w' .. no .. char(j.prio) .. at .. j.id
    if state == SCHEDULED then return {w} end
    return {w, 't' .. no .. at .. j.id, 's\1' .. j.id}
  elseif state == RUNNING then
    return {'r' .. pack('>Bc0I6', #j.worker, j.worker, j.fetch) .. j.id}
  end
  local f = 'f' .. pack('>I6', j.finished + j.prof.retention) .. j.id
  if state == COMPLETED then return {f} end
  return {f, 's' .. char(state) .. j.id}
end

-- class is where a job counts in its queue's row.
local function class(j)
  if j.state <= RETRYABLE then return j.behind == '' and 1 or 2 end
  return j.state + 1
end

-- model reads jobs and keys into tables, changes them as internal/memstore does (the same names, the same order), and writes what
-- changed. It is made only by scripts that need it.
local function model()
  local m = {}
  local jobof, keyof = {}, {}
  local dirtyjobs, dirtykeys = {}, {}
  m.keyof = keyof

  -- job is a job that was read and is there.
  function m.job(id)
    local j = jobof[id]
    if j and not j.off then return j end
    return nil
  end

  -- load reads jobs that were not read yet: their three fields.
  function m.load(ids)
    local want, fields = {}, {}
    for _, id in ipairs(ids) do
      if jobof[id] == nil then
        jobof[id] = false
        want[#want + 1] = id
        local n = #fields
        fields[n + 1], fields[n + 2], fields[n + 3] = id, '\0' .. id, '\0\0' .. id
      end
    end
    local got = hmget(jobs, fields)
    for i, id in ipairs(want) do
      local full, split, errs = got[3 * i - 2], got[3 * i - 1], got[3 * i]
      if full then
        local j, at = readhead(id, split or full)
        if split then
          j.split = split
          at = nil -- of the body: see body
        end
        j.full, j.at, j.errs = full, at, errs
        jobof[id] = j
      end
    end
  end

  local function kread(key, s)
    local k = {key = key, raw = s, next = ''}
    if byte(s) ~= 0 then
      k.holder, k.frees = s, NEVER
      return k
    end
    local form, at
    form, k.pending, k.frees, k.since, k.holder, k.next, at = unpk('>BBI6I6Bc0Bc0', s, 2)
    if form == 2 then
      local g = {}
      g.kind, g.queue, g.state, g.digest, at = unpk('>Bc0Bc0Bc16', s, at)
      g.text = sub(s, at)
      k.gone = g
    end
    return k
  end

  -- loadkeys reads keys that were not read yet, and the jobs that hold them and stand behind them.
  function m.loadkeys(names)
    local want, ids = {}, {}
    for _, key in ipairs(names) do
      if keyof[key] == nil then
        keyof[key] = false
        want[#want + 1] = key
      end
    end
    local got = hmget(keys, want)
    for i, key in ipairs(want) do
      if got[i] then
        local k = kread(key, got[i])
        keyof[key] = k
        if not k.gone then ids[#ids + 1] = k.holder end
        if k.next ~= '' then ids[#ids + 1] = k.next end
      end
    end
    m.load(ids)
    for _, key in ipairs(want) do
      local k = keyof[key]
      if k and not k.pending then -- the short form: on the terms and since the enqueue of its holder
        local j = jobof[k.holder]
        k.pending, k.since = j.prof.till, j.enq
      end
    end
  end

  -- loadwith reads jobs and whatever their end may touch.
  function m.loadwith(ids)
    m.load(ids)
    local names = {}
    for _, id in ipairs(ids) do
      local j = jobof[id]
      if j and j.key then names[#names + 1] = j.key end
    end
    m.loadkeys(names)
  end

  -- body reads the body of a job.
  local function body(j)
    if j.body then return j.body end
    local s, at = j.full, j.at
    if not at then
      local _
      _, at = readhead(j.id, s)
    end
    local b = {}
    if j.key then b.digest, at = sub(s, at, at + 15), at + 16 end
    b.flags, at = byte(s, at), at + 1
    b.text, b.meta, b.tags = '', '', ''
    local told
    if j.key then told, at = unpk('>I2c0', s, at) end
    if band(b.flags, 1) ~= 0 then b.meta, at = unpk('>I3c0', s, at) end
    if band(b.flags, 2) ~= 0 then b.tags, at = unpk('>I2c0', s, at) end
    b.args = sub(s, at)
    if band(b.flags, 4) ~= 0 then -- the text is told by what it has in common with the rest
      local all = 'kind=' .. j.prof.kind .. ' queue=' .. j.prof.queue .. ' args=' .. sub(b.args, 1, 2048)
      local text, i = {}, 1
      while i <= #told do
        local lit, from, n
        lit, i = unpk('>Bc0', told, i)
        text[#text + 1] = lit
        if i <= #told then
          from, n, i = unpk('>I2I2', told, i)
          text[#text + 1] = sub(all, from + 1, from + n)
        end
      end
      told, b.flags = table.concat(text), b.flags - 4
    end
    b.text = told or ''
    j.body = b
    return b
  end
  m.body = body

  local function writebody(j)
    local b = body(j)
    local s = (j.key and b.digest or '') .. char(b.flags)
    if j.key then s = s .. pack('>I2', #b.text) .. b.text end
    if band(b.flags, 1) ~= 0 then s = s .. pack('>I3', #b.meta) .. b.meta end
    if band(b.flags, 2) ~= 0 then s = s .. pack('>I2', #b.tags) .. b.tags end
    return s .. b.args
  end

  -- dirty must be called before a job is changed.
  local function dirty(j)
    if j.dirty then return end
    j.dirty = true
    dirtyjobs[#dirtyjobs + 1] = j
    if not j.new then
      j.was, j.wasclass, j.wasqueue = members(j), class(j), j.prof.queue
    end
  end
  m.dirty = dirty

  local function kmembers(k)
    if k.frees < NEVER and k.next == '' then return {'x' .. pack('>I6', k.frees) .. k.key} end
    return {}
  end

  local function kdirty(k)
    if k.dirty then return end
    k.dirty = true
    dirtykeys[#dirtykeys + 1] = k
    k.was = {}
    if k.raw then k.was = kmembers(k) end
  end

  local function held(k) return k and (now < k.frees or k.next ~= '') end
  m.held = held

  local function pending(j)
    if j.prof.till == WINDOWENDS then return 0 end
    return j.prof.till
  end

  -- anchorat, freesat and restat are onceq.Hold's.
  local function anchorat(j, enq, runat)
    if j.prof.fromenq == 1 then return enq end
    return max(enq, runat)
  end

  local function freesat(j)
    local p, frees = j.prof, NEVER
    if p.till == DUE then
      frees = max(j.runat, j.anchor + p.window)
    elseif p.till == WINDOWENDS then
      frees = j.anchor + p.window
    end
    if p.ttl > 0 then frees = min(frees, j.anchor + p.ttl) end
    return frees
  end

  local function restat(j)
    local p = j.prof
    local rest = j.anchor + p.window
    if p.ttl > 0 then rest = min(rest, j.anchor + p.ttl) end
    return rest
  end

  -- put keeps a key row, unless it holds no longer. The row's place in keyof stays the same table, so that its old members go.
  local function put(k)
    kdirty(k)
    k.off = not held(k)
  end

  local function keyrow(key)
    local k = keyof[key]
    if k and not k.off then return k end
    return nil
  end
  m.keyrow = keyrow

  local function take(j)
    local k = keyof[j.key]
    if not k then
      k = {key = j.key, frees = NEVER, next = ''}
      keyof[j.key] = k
    end
    kdirty(k)
    k.holder, k.pending, k.since, k.next, k.gone = j.id, pending(j), now, '', nil
    k.frees = j.behind ~= '' and NEVER or freesat(j)
    put(k)
  end
  m.take = take

  local function settle(k)
    if k.next == '' or now < k.frees then return end
    kdirty(k)
    k.holder, k.next, k.since, k.gone = k.next, '', k.frees, nil
    k.pending, k.frees = pending(jobof[k.holder]), NEVER
  end
  m.settle = settle

  local function come(k, j)
    kdirty(k)
    k.pending, k.frees = 0, restat(j)
    put(k)
  end
  m.come = come

  local function letgo(k, w)
    dirty(w)
    kdirty(k)
    w.behind = ''
    w.runat = max(w.runat, now)
    w.anchor = anchorat(w, w.enq, w.runat)
    k.pending, k.frees = pending(w), freesat(w)
    put(k)
    if w.runat <= now then return w.prof.queue end
    return nil
  end

  -- ended does for the key what the end of a job does: finished (its state says so) or deleted. It returns the queue in which a waiter
  -- became due.
  local function ended(j, deleted)
    if not j.key then return nil end
    local k = keyrow(j.key)
    if k then settle(k) end
    local early = j.anchor > now
    if early then j.anchor = now end
    if j.behind ~= '' then -- a waiter goes
      j.behind = ''
      if k and k.next == j.id then
        kdirty(k)
        k.next = ''
        put(k)
        return nil
      end
    end
    if not k then return nil end
    if k.holder ~= j.id or k.gone then
      local w = jobof[k.holder]
      if w and w.behind == j.id then return letgo(k, w) end -- the key had passed to the waiter before
      return nil
    end
    if k.next ~= '' then
      kdirty(k)
      local w = jobof[k.next]
      k.holder, k.next, k.since = w.id, '', now
      j.keyless = true
      return letgo(k, w)
    elseif k.pending ~= 0 and (deleted or ends(k.pending, j.state)) then
      come(k, j)
    elseif early then
      kdirty(k)
      k.frees = k.pending ~= 0 and freesat(j) or restat(j)
      put(k)
    elseif not held(k) then
      put(k)
    end
    return nil
  end
  m.ended = ended

  -- remove takes a row away. A key that it still holds describes its holder by itself from now on.
  local function remove(j, pruned)
    dirty(j)
    j.off = true
    local k = j.key and keyrow(j.key)
    if not k or k.holder ~= j.id or k.gone then return end
    if pruned and j.prof.ttl == 0 and k.pending ~= 0 then
      come(k, j)
      if k.off then return end
    end
    kdirty(k)
    local b = body(j)
    k.gone = {kind = j.prof.kind, queue = j.prof.queue, text = b.text, state = j.state, digest = b.digest, flags = b.flags}
    put(k)
  end
  m.remove = remove

  -- moverun gives a waiting job another run time. Before the first fetch the anchor goes along.
  local function moverun(j, runat)
    dirty(j)
    local wasdue = j.runat <= now
    j.runat = runat
    if j.behind == '' then wake(j.prof.queue) end
    if j.run > 0 or not j.key then return end
    j.anchor = anchorat(j, j.enq, runat)
    local k = keyrow(j.key)
    if not k or k.holder ~= j.id or k.gone or j.behind ~= '' then return end
    kdirty(k)
    if k.pending == DUE and wasdue then k.pending = 0 end
    if k.pending == 0 and j.prof.till ~= WINDOWENDS then
      k.frees = restat(j)
    else
      k.frees = freesat(j)
    end
    put(k)
  end
  m.moverun = moverun

  -- finish sets a final state.
  local function finish(j, state)
    j.state, j.cancel, j.finished = state, false, now
  end
  m.finish = finish

  -- finishrun ends the current run of a job. errs is the error of the run, packed, or ''.
  function m.finishrun(j, worker, state, delay, giveback, err)
    dirty(j)
    if j.cancel and state ~= COMPLETED then state = CANCELLED end
    j.worker = worker
    if err ~= '' then
      local entry = pack('>I3I5I6', j.attempt, j.run, now) .. err
      local errs = (j.errs or '') .. pack('>I4', #entry) .. entry
      local n, at = 0, 1
      while at <= #errs do
        n, at = n + 1, at + 4 + unpk('>I4', errs, at)
      end
      at = 1
      for _ = 6, n do at = at + 4 + unpk('>I4', errs, at) end
      j.errs, j.errsdirty = sub(errs, at), true
    end
    if giveback then j.attempt = j.attempt - 1 end
    local woke
    if state < RUNNING then
      j.state, j.runat = state, now + delay
      if delay == 0 then woke = j.prof.queue end
    else
      finish(j, state)
      woke = ended(j, false)
      if j.prof.retention == 0 then remove(j, true) end
    end
    if woke then wake(woke) end
    return state, woke
  end

  -- triple is a job as it is handed out: its three fields. readjob in codec.go reads it.
  function m.triple(j)
    if not j.dirty then return j.full, j.split or false, j.errs or false end
    local head = writehead(j)
    if j.split then
      local full = j.full
      if j.bodydirty then full = head .. writebody(j) end
      return full, head, j.errs or false
    end
    return head .. (j.bodydirty and writebody(j) or sub(j.full, j.at)), false, j.errs or false
  end

  -- krow packs a key as it is now.
  local function krow(k)
    if k.gone then
      local g = k.gone
      return '\0' .. pack('>BBI6I6Bc0Bc0Bc0Bc0B', 2, k.pending, k.frees, k.since, #k.holder, k.holder, #k.next, k.next, #g.kind, g.kind,
        #g.queue, g.queue, g.state) .. g.digest .. g.text
    end
    local j = jobof[k.holder]
    if k.frees == NEVER and k.next == '' and k.pending == j.prof.till and k.since == j.enq then return k.holder end
    return '\0' .. pack('>BBI6I6Bc0Bc0', 1, k.pending, k.frees, k.since, #k.holder, k.holder, #k.next, k.next)
  end
  m.krow = krow

  -- kview is a held key as it is shown: its effective holder; and that job, or nil when its row is gone.
  function m.kview(k)
    local shown = {}
    for name, v in pairs(k) do shown[name] = v end
    if k.next ~= '' and now >= k.frees then
      local w = jobof[k.next]
      shown.holder, shown.next, shown.since, shown.gone, shown.pending, shown.frees = k.next, '', k.frees, nil, pending(w), NEVER
    end
    return shown, not shown.gone and jobof[shown.holder] or nil
  end

  -- write gives a waiting job new values of some fields of an enqueue r.
  local ARGS, META, PRIORITY, MAX, TAGS = 1, 2, 4, 16, 32
  function m.write(j, r, fields)
    dirty(j)
    local b
    if band(fields, ARGS + META + TAGS) ~= 0 then
      j.bodydirty = true
      b = body(j)
    end
    if band(fields, ARGS) ~= 0 then
      local n = body(r)
      b.args, b.digest, j.enc = n.args, n.digest, r.enc
      b.flags = band(b.flags, 3) + band(n.flags, 8)
    end
    if band(fields, META) ~= 0 then
      local n = body(r)
      b.meta, b.flags = n.meta, band(b.flags, 254) + band(n.flags, 1)
    end
    if band(fields, TAGS) ~= 0 then
      local n = body(r)
      b.tags, b.flags = n.tags, band(b.flags, 253) + band(n.flags, 2)
    end
    if band(fields, PRIORITY) ~= 0 then j.prio = r.prio end
    if band(fields, MAX) ~= 0 then j.max = r.max end
    if j.behind == '' and j.runat <= now then wake(j.prof.queue) end
  end

  -- renew gives a waiter the args and options of the latest enqueue, and the earlier of the two run times.
  function m.renew(w, r)
    dirty(w)
    local k = keyrow(w.key)
    if k and k.holder == w.id then kdirty(k) end
    w.ref, w.prof, w.prio, w.max, w.enc = r.ref, r.prof, r.prio, r.max, r.enc
    w.body, w.bodydirty = body(r), true
    w.runat = min(w.runat, r.runat)
    w.anchor = anchorat(w, w.enq, w.runat)
  end

  -- insert adds a job that newrow made. Its key is the caller's business.
  function m.insert(j, origin, behind, displaced)
    j.origin, j.behind, j.displaced, j.enq = origin, behind, displaced, now
    j.anchor = j.key and anchorat(j, now, j.runat) or 0
    j.new = true
    jobof[j.id] = j
    dirty(j)
    j.bodydirty = true
    if behind == '' then wake(j.prof.queue) end
    return j
  end

  -- stand puts a waiter behind the holder.
  function m.stand(k, w)
    kdirty(k)
    k.next = w.id
    put(k)
  end

  -- release frees a key that was settled, or gives it to the one who stands behind its holder.
  function m.release(k)
    kdirty(k)
    if k.next == '' then
      k.off = true
      return
    end
    k.holder, k.next, k.since, k.gone = k.next, '', now, nil
    k.pending, k.frees = pending(jobof[k.holder]), NEVER
    put(k)
  end

  -- drop takes a key away that holds no longer.
  function m.drop(k)
    kdirty(k)
    k.off = true
  end

  -- withdraw cancels a waiting job whose key is another's from now on.
  local function withdraw(j, by)
    dirty(j)
    j.behind, j.superseded, j.keyless = '', by, true
    finish(j, CANCELLED)
    j.anchor = min(j.anchor, now)
    if j.prof.retention == 0 then j.off = true end
  end

  -- supersede puts the new job in the holder's place.
  function m.supersede(holder, k, r)
    if k.next ~= '' then
      kdirty(k)
      withdraw(jobof[k.next], r.id)
      k.next = ''
    end
    if holder.state == RUNNING then
      dirty(holder)
      kdirty(k)
      holder.cancel, holder.superseded = true, r.id
      tellstop(holder.worker)
      m.insert(r, 2, holder.id, holder.id)
      k.next = r.id
      put(k)
      return r
    end
    local behind = holder.behind
    withdraw(holder, r.id)
    m.insert(r, 2, behind, holder.id)
    take(r)
    return r
  end

  -- flush writes all that changed. IDs of jobs that the caller deleted by itself are listed no more, with the others.
  function m.flush(less)
    local set, del, add, rem, kset, kdel = {}, {}, {}, {}, {}, {}
    local comes, goes = {}, less or {} -- packed IDs
    for _, j in ipairs(dirtyjobs) do
      local is = {}
      if j.off then
        if not j.new then
          if jobof[j.id] == j then del[#del + 1] = j.id end -- else the ID was taken again at once
          if packed(j.id) then goes[#goes + 1] = j.id else rem[#rem + 1] = 'j' .. j.id end
          if j.split then del[#del + 1] = '\0' .. j.id end
          if j.errs then del[#del + 1] = '\0\0' .. j.id end
        end
      else
        local full, split = m.triple(j)
        if j.bodydirty or not split then
          set[#set + 1] = j.id
          set[#set + 1] = full
        end
        if split then
          set[#set + 1] = '\0' .. j.id
          set[#set + 1] = split
        end
        if j.errsdirty then
          set[#set + 1] = '\0\0' .. j.id
          set[#set + 1] = j.errs
        end
        if j.new and packed(j.id) then
          comes[#comes + 1] = j.id
        elseif j.new then
          add[#add + 1] = 0
          add[#add + 1] = 'j' .. j.id
        end
        is = members(j)
        local q = qmade(j.prof.queue)
        local c = class(j)
        q[c] = q[c] + 1
      end
      if not j.new then
        local q = qmade(j.wasqueue)
        q[j.wasclass] = q[j.wasclass] - 1
        local stays = {}
        for _, v in ipairs(is) do stays[v] = true end
        for _, v in ipairs(j.was) do
          if stays[v] then stays[v] = 1 else rem[#rem + 1] = v end
        end
        for _, v in ipairs(is) do
          if stays[v] ~= 1 then
            add[#add + 1] = 0
            add[#add + 1] = v
          end
        end
      else
        for _, v in ipairs(is) do
          add[#add + 1] = 0
          add[#add + 1] = v
        end
      end
    end
    for _, k in ipairs(dirtykeys) do
      local is = {}
      if k.off then
        if k.raw then kdel[#kdel + 1] = k.key end
      else
        local row = krow(k)
        if row ~= k.raw then
          kset[#kset + 1] = k.key
          kset[#kset + 1] = row
        end
        is = kmembers(k)
      end
      if k.was[1] ~= is[1] then
        if k.was[1] then rem[#rem + 1] = k.was[1] end
        if is[1] then
          add[#add + 1] = 0
          add[#add + 1] = is[1]
        end
      end
    end
    idpages(comes, goes, false, set, del, add, rem)
    if #set + #del + #add + #rem + #kset + #kdel == 0 then return end
    if grows then pieces('HSET', jobs, set) end -- refused when memory is full
    begin(rem)
    if not grows then pieces('HSET', jobs, set) end
    pieces('HDEL', jobs, del)
    pieces('HSET', keys, kset)
    pieces('HDEL', keys, kdel)
    pieces('ZADD', ix, add)
  end

  return m
end
