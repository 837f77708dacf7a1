-- moves.lua, after lib.lua, pages.lua and rows.lua, is how jobs and keys
-- change: the rules of internal/rules (the same names, the same order),
-- over the rows that model.lua has read.
--
--   a key  held, take, settle, come, letgo, ended, release, drop
--   a job  setrun, moverun, startrun, finish, finishrun, remove, write,
--         renew, insert, stand, supersede

-- moves adds its changes to a model.
local function moves(m)
  local jobof, keyof, dirty, kdirty, body, keyrow = m.jobof, m.keyof, m.dirty, m.kdirty, m.body, m.keyrow

  local function held(k) return k and (now < k.frees or k.next ~= '') end
  m.held = held

  local function pending(j)
    if j.prof.till == UNTIL_WINDOW_ENDS then return UNTIL_CAME end
    return j.prof.till
  end
  m.pending = pending

  -- anchorat, freesat and restat are those of onceq.Hold.
  local function anchorat(j, enq, runat)
    if j.prof.fromenq == 1 then return enq end
    return max(enq, runat)
  end

  local function freesat(j)
    local p, frees = j.prof, NEVER
    if p.till == UNTIL_DUE then
      frees = max(j.runat, j.anchor + p.window)
    elseif p.till == UNTIL_WINDOW_ENDS then
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

  -- put keeps the row of a key that is held, and removes it otherwise.
  -- keyof keeps the same table for the row, so that its old members are
  -- removed.
  local function put(k)
    kdirty(k)
    k.off = not held(k)
  end

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
    k.pending, k.frees = UNTIL_CAME, restat(j)
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
    if w.runat <= now then
      wake(w.prof.queue, w.prof.kind)
      return w.prof.queue
    end
    return nil
  end

  -- ended does to the key what the end of a job does: it is finished (its
  -- state says so) or deleted. It returns the queue in which a waiter
  -- became due, and wakes it.
  local function ended(j, deleted)
    if not j.key then return nil end
    local k = keyrow(j.key)
    if k then settle(k) end
    local early = j.anchor > now
    if early then j.anchor = now end
    if j.behind ~= '' then -- it was a waiter
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
      if w and w.behind == j.id then return letgo(k, w) end -- a clock had passed the key
      return nil
    end
    if k.next ~= '' then
      kdirty(k)
      local w = jobof[k.next]
      k.holder, k.next, k.since = w.id, '', now
      j.keyless = true
      return letgo(k, w)
    elseif k.pending ~= UNTIL_CAME and (deleted or ends(k.pending, j.state)) then
      come(k, j)
    elseif early then
      kdirty(k)
      k.frees = k.pending ~= UNTIL_CAME and freesat(j) or restat(j)
      put(k)
    elseif not held(k) then
      put(k)
    end
    return nil
  end
  m.ended = ended

  -- remove deletes a row. If the job still holds its key, the key keeps
  -- what is known of its holder.
  local function remove(j, pruned)
    dirty(j)
    j.off = true
    local k = j.key and keyrow(j.key)
    if not k or k.holder ~= j.id or k.gone then return end
    if pruned and j.prof.ttl == 0 and k.pending ~= UNTIL_CAME then
      come(k, j)
      if k.off then return end
    end
    kdirty(k)
    local b = body(j)
    k.gone = {kind = j.prof.kind, queue = j.prof.queue, text = b.text, state = j.state, digest = b.digest,
      flags = b.flags}
    put(k)
  end
  m.remove = remove

  -- setrun changes the run time of a waiting job. Until the first fetch the
  -- anchor moves with it; a job that no longer holds its key does not get it
  -- back by that.
  local function setrun(j, runat)
    dirty(j)
    local wasdue = j.runat <= now
    j.runat = runat
    if j.run > 0 or not j.key then return end
    local k = keyrow(j.key)
    if not held(k) or k.holder ~= j.id or k.gone then
      j.keyless = true
      return
    end
    j.anchor = anchorat(j, j.enq, runat)
    if j.behind ~= '' then return end
    kdirty(k)
    if k.pending == UNTIL_DUE and wasdue then k.pending = UNTIL_CAME end
    if k.pending == UNTIL_CAME and j.prof.till ~= UNTIL_WINDOW_ENDS then
      k.frees = restat(j)
    else
      k.frees = freesat(j)
    end
    put(k)
  end
  m.setrun = setrun

  -- moverun gives a waiting job another run time.
  local function moverun(j, runat)
    setrun(j, runat)
    if j.behind == '' then wake(j.prof.queue, j.prof.kind) end
  end
  m.moverun = moverun

  -- startrun gives a waiting job to a worker. Its key was read if its event
  -- is the start.
  function m.startrun(j, worker, no)
    dirty(j)
    j.state, j.started, j.worker, j.fetch = STATE_RUNNING, now, worker, no
    j.attempt, j.run = j.attempt + 1, j.run + 1
    j.split = j.split or ''
    local k = j.key and keyrow(j.key)
    if k and k.holder == j.id and not k.gone and k.pending == UNTIL_STARTED then come(k, j) end
  end

  -- finish sets a final state.
  local function finish(j, state)
    j.state, j.cancel, j.finished = state, false, now
  end
  m.finish = finish

  -- finishrun ends the current run of a job. err is the error of the run,
  -- packed, or ''.
  function m.finishrun(j, worker, state, delay, giveback, err)
    dirty(j)
    if j.cancel and state ~= STATE_COMPLETED then state = STATE_CANCELLED end
    j.worker = worker
    if err ~= '' then
      local entry = pack(ERROR_FORMAT, j.attempt, j.run, now) .. err
      if j.errs == nil then j.errs = call('HGET', jobs, '\0\0' .. j.id) end
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
    if state < STATE_RUNNING then
      j.state, j.runat = state, now + delay
      if delay == 0 then
        woke = j.prof.queue
        wake(woke, j.prof.kind)
      end
    else
      finish(j, state)
      woke = ended(j, false)
      if keeps(j.prof, state) == 0 then remove(j, true) end
    end
    return state, woke
  end

  -- write gives a waiting job new values of some fields of the enqueue r.
  function m.write(j, r, fields)
    dirty(j)
    local b
    if band(fields, FIELD_ARGS + FIELD_META + FIELD_TAGS) ~= 0 then
      j.bodydirty = true
      b = body(j)
    end
    if band(fields, FIELD_ARGS) ~= 0 then
      local n = body(r, true)
      b.args, b.size, b.digest, b.extra, j.enc = n.args, n.size, n.digest, n.extra, r.enc
      b.flags = band(b.flags, BODY_META + BODY_TAGS) + band(n.flags, BODY_NILARGS)
    end
    if band(fields, FIELD_META) ~= 0 then
      local n = body(r)
      b.meta, b.flags = n.meta, band(b.flags, 255 - BODY_META) + band(n.flags, BODY_META)
    end
    if band(fields, FIELD_TAGS) ~= 0 then
      local n = body(r)
      b.tags, b.flags = n.tags, band(b.flags, 255 - BODY_TAGS) + band(n.flags, BODY_TAGS)
    end
    if band(fields, FIELD_PRIORITY) ~= 0 then j.prio = r.prio end
    if band(fields, FIELD_MAXATTEMPTS) ~= 0 then j.max = r.max end
    if j.behind == '' and j.runat <= now then wake(j.prof.queue, j.prof.kind) end
  end

  -- renew gives a waiter the args and options of the latest enqueue, and
  -- the earlier of the two run times.
  function m.renew(w, r)
    dirty(w)
    local k = keyrow(w.key)
    if k and k.holder == w.id then kdirty(k) end
    w.ref, w.prof, w.prio, w.max, w.enc = r.ref, r.prof, r.prio, r.max, r.enc
    w.body, w.bodydirty, wanted[r.ref] = body(r, true), true, true
    w.runat = min(w.runat, r.runat)
    w.anchor = anchorat(w, w.enq, w.runat)
  end

  -- insert adds a job that newrow made. The caller sees to its key.
  function m.insert(j, origin, behind, displaced)
    j.origin, j.behind, j.displaced, j.enq = origin, behind, displaced, now
    j.anchor = j.key and anchorat(j, now, j.runat) or 0
    j.new, wanted[j.ref] = true, true
    jobof[j.id] = j
    dirty(j)
    if behind == '' then wake(j.prof.queue, j.prof.kind) end
    return j
  end

  -- stand puts a waiter behind the holder.
  function m.stand(k, w)
    kdirty(k)
    k.next = w.id
    put(k)
  end

  -- release frees a key that was settled, or passes it to the waiter behind
  -- its holder.
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

  -- drop removes the row of a key that is free.
  function m.drop(k)
    kdirty(k)
    k.off = true
  end

  -- withdraw cancels a waiting job whose key another job takes.
  local function withdraw(j, by)
    dirty(j)
    j.behind, j.superseded, j.keyless = '', by, true
    finish(j, STATE_CANCELLED)
    j.anchor = min(j.anchor, now)
    if keeps(j.prof, STATE_CANCELLED) == 0 then j.off = true end
  end

  -- supersede puts the new job in the place of the holder.
  function m.supersede(holder, k, r)
    if k.next ~= '' then
      kdirty(k)
      withdraw(jobof[k.next], r.id)
      k.next = ''
    end
    if holder.state == STATE_RUNNING then
      dirty(holder)
      kdirty(k)
      holder.cancel, holder.superseded = true, r.id
      tellstop(holder.worker)
      m.insert(r, ORIGIN_SUPERSEDED, holder.id, holder.id)
      k.next = r.id
      put(k)
      return r
    end
    local behind = holder.behind
    withdraw(holder, r.id)
    m.insert(r, ORIGIN_SUPERSEDED, behind, holder.id)
    take(r)
    return r
  end

end

