-- model.lua, after lib.lua, pages.lua, rows.lua and moves.lua, reads jobs
-- and keys and writes what changed.
--
--   reading    job, load, loadkeys, loadwith, bodies, all, body, keyrow, kview, krow
--   answering  triple, hand
--   writing    dirty, kdirty, flush
--   changing   see moves.lua

-- model reads jobs and keys into tables, changes them by the rules of
-- internal/rules (the same names, the same order), and writes what changed.
-- It is made only by scripts that need it.
--
-- A job is read by its head alone. Its row is read only if it has the head,
-- and is then small. The fields of a job j: full = its row; at = where the
-- body begins in it; split = the field of its head; cover = what follows
-- the head there; errs = its errors (false = none); nil = not read, or it
-- does not exist.
local function model()
  local m = {}
  local jobof, keyof = {}, {}
  local dirtyjobs, dirtykeys = {}, {}
  m.jobof, m.keyof = jobof, keyof

  -- job is a job that was read and exists.
  function m.job(id)
    local j = jobof[id]
    if j and not j.off then return j end
    return nil
  end

  -- read takes in what was read of a job: its row, or the field of its
  -- head, or both.
  function m.read(id, row, head)
    local j, at = readhead(id, head or row)
    j.full = row
    if head then
      j.split = head
      if at <= #head then j.cover = sub(head, at) end
    else
      j.at, j.errs = at, false
    end
    jobof[id] = j
  end

  -- load reads jobs that were not read yet.
  function m.load(ids)
    local want, fields = {}, {}
    for _, id in ipairs(ids) do
      if jobof[id] == nil then
        jobof[id] = false
        want[#want + 1] = id
        fields[#want] = '\0' .. id
      end
    end
    local heads, lone, place = hmget(jobs, fields), {}, {}
    for i, id in ipairs(want) do
      if not heads[i] then
        lone[#lone + 1] = id
        place[i] = #lone
      end
    end
    local rows = hmget(jobs, lone)
    for i, id in ipairs(want) do
      local row = rows[place[i]] or nil
      if heads[i] or row then m.read(id, row, heads[i] or nil) end
    end
  end

  -- errors reads the errors of jobs.
  function m.errors(list)
    local want, fields = {}, {}
    for _, j in ipairs(list) do
      if j.errs == nil then
        want[#want + 1] = j
        fields[#want] = '\0\0' .. j.id
      end
    end
    local got = hmget(jobs, fields)
    for i, j in ipairs(want) do j.errs = got[i] end
  end

  -- bodies reads the rows of jobs that load did not read, and their errors.
  -- Without args it skips jobs whose cover is enough.
  function m.bodies(list, args)
    local want, fields = {}, {}
    for _, j in ipairs(list) do
      if not j.full and (args or not j.cover) then
        want[#want + 1] = j
        fields[#want] = j.id
      end
    end
    local got = hmget(jobs, fields)
    for i, j in ipairs(want) do j.full = got[i] end
    m.errors(list)
  end

  -- all returns the jobs that were read.
  function m.all()
    local list = {}
    for _, j in pairs(jobof) do
      if j and not j.new then list[#list + 1] = j end
    end
    return list
  end

  local function kread(key, s)
    local k = {key = key, raw = s, next = ''}
    if byte(s) ~= 0 then
      k.holder, k.frees = s, NEVER
      return k
    end
    local _, form, at
    _, form, k.pending, k.frees, k.since, k.holder, k.next, at = unpk(KEYROW_FORMAT, s)
    if form == KEYROW_GONE then
      local g = {}
      g.kind, g.queue, g.state, g.digest, at = unpk(GONE_FORMAT, s, at)
      g.text = sub(s, at)
      k.gone = g
    end
    return k
  end

  -- loadkeys reads keys that were not read yet, and the jobs that hold them
  -- or stand behind the holder.
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
      if k and not k.pending then -- the short form: held on the terms of its holder, since its enqueue
        local j = jobof[k.holder]
        k.pending, k.since = j.prof.till, j.enq
      end
    end
  end

  -- loadwith reads jobs and all that their end may touch.
  function m.loadwith(ids)
    m.load(ids)
    local names = {}
    for _, id in ipairs(ids) do
      local j = jobof[id]
      if j and j.key then names[#names + 1] = j.key end
    end
    m.loadkeys(names)
  end

  -- body is the body of a job. It has the args if they are asked for, or if
  -- it is small.
  local function body(j, args)
    local b = j.body
    if not b then
      if j.cover then
        b = readbody(j, j.cover, 1, true)
      else
        if not j.full then j.full = call('HGET', jobs, j.id) end
        if not j.at then
          local _
          _, j.at = readhead(j.id, j.full)
        end
        b = readbody(j, j.full, j.at)
      end
      j.body = b
    end
    if args and not b.args then
      if not j.full then j.full = call('HGET', jobs, j.id) end
      b.args = b.size > 0 and sub(j.full, -b.size) or ''
    end
    return b
  end
  m.body = body

  -- written returns what the fields of a job are to be: its row (nil =
  -- unchanged), and the field of its head (nil = it has none).
  local function written(j)
    local head, row, cover = writehead(j), nil, j.cover
    if j.bodydirty then
      local b = body(j, true)
      local s = writebody(j, b)
      row = head .. s .. b.args
      cover = #s + #b.args > BODY_LARGE and s .. pack('>I4', #b.args) or nil
      j.cover = cover
    elseif j.new then
      row = head .. sub(j.full, j.at)
    elseif not j.split then
      return head .. sub(j.full, j.at), nil
    end
    if j.split or cover then return row, head .. (cover or '') end
    return row, nil
  end

  -- dirty must be called before a job is changed.
  local function dirty(j)
    if j.dirty then return end
    j.dirty = true
    dirtyjobs[#dirtyjobs + 1] = j
    if not j.new then
      j.was, j.wasclass, j.wasqueue, j.wasref = members(j), class(j), j.prof.queue, j.ref
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
  m.kdirty = kdirty

  local function keyrow(key)
    local k = keyof[key]
    if k and not k.off then return k end
    return nil
  end
  m.keyrow = keyrow

  -- triple is a job as scripts return it: its row, the field of its head,
  -- its errors. readJob in codec.go reads it. Without args the row is '' if
  -- the cover is enough.
  function m.triple(j, args)
    local row, split = j.full, j.split
    if j.dirty then
      row, split = written(j)
      row = row or j.full
    end
    if j.errs == nil then j.errs = call('HGET', jobs, '\0\0' .. j.id) end
    if not args and split and j.cover then
      row = ''
    elseif not row then
      j.full = call('HGET', jobs, j.id)
      row = j.full
    end
    return row, split or false, j.errs or false
  end

  -- hand returns jobs by ID until there are so many bytes of rows, but at
  -- least one job. It returns {ID, row, head, errors} or false for each,
  -- and for how many.
  function m.hand(ids, args, bytes)
    m.load(ids)
    local total, n, list = 0, 0, {}
    for i, id in ipairs(ids) do
      local j = m.job(id)
      if j then
        local size = BODY_LARGE
        if j.cover then
          size = #j.cover + (args and unpk('>I4', j.cover, #j.cover - 3) or 0)
        elseif j.full then
          size = #j.full
        end
        total = total + size
        if i > 1 and total > bytes then break end
        list[#list + 1] = j
      end
      n = i
    end
    m.bodies(list, args)
    local answers = {}
    for i = 1, n do
      local j = m.job(ids[i])
      answers[i] = j and {ids[i], m.triple(j, args)} or false
    end
    return answers, n
  end

  -- krow packs a key as it is now.
  local function krow(k)
    if k.gone then
      local g = k.gone
      return pack(KEYROW_FORMAT, 0, KEYROW_GONE, k.pending, k.frees, k.since, #k.holder, k.holder, #k.next, k.next) ..
        pack(GONE_FORMAT, #g.kind, g.kind, #g.queue, g.queue, g.state, g.digest) .. g.text
    end
    local j = jobof[k.holder]
    if k.frees == NEVER and k.next == '' and k.pending == j.prof.till and k.since == j.enq then return k.holder end
    return pack(KEYROW_FORMAT, 0, KEYROW_CLOCK, k.pending, k.frees, k.since, #k.holder, k.holder, #k.next, k.next)
  end
  m.krow = krow

  -- kview is a held key as it is shown, with its effective holder, and that
  -- job; nil if its row is gone.
  function m.kview(k)
    local shown = {}
    for name, v in pairs(k) do shown[name] = v end
    if k.next ~= '' and now >= k.frees then
      local w = jobof[k.next]
      shown.holder, shown.next, shown.since, shown.gone, shown.pending, shown.frees = k.next, '', k.frees, nil,
        m.pending(w), NEVER
    end
    return shown, not shown.gone and jobof[shown.holder] or nil
  end

  -- flush writes all that changed. less has IDs of jobs that the caller
  -- deleted by itself: they are taken out of the pages with the others.
  function m.flush(less)
    local set, del, add, rem, kset, kdel = {}, {}, {}, {}, {}, {}
    local comes, goes = {}, less or {} -- packed IDs
    local stays = {} -- fields that are set: an ID may be used again at once
    for _, j in ipairs(dirtyjobs) do
      local is = {}
      if not j.off then
        local row, split = written(j)
        if row then
          set[#set + 1] = j.id
          set[#set + 1] = row
          stays[j.id] = true
        end
        if split then
          set[#set + 1] = '\0' .. j.id
          set[#set + 1] = split
          stays['\0' .. j.id] = true
        end
        if j.errsdirty then
          set[#set + 1] = '\0\0' .. j.id
          set[#set + 1] = j.errs
        end
        if j.again then del[#del + 1] = RESULT .. j.id end -- a retry forgets its result
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
        count(j.ref, 1)
      elseif not j.new then
        if packed(j.id) then goes[#goes + 1] = j.id else rem[#rem + 1] = 'j' .. j.id end
        del[#del + 1], del[#del + 2], del[#del + 3] = j.id, '\0' .. j.id, '\0\0' .. j.id
        del[#del + 1] = RESULT .. j.id
      end
      if not j.new then
        local q = qmade(j.wasqueue)
        q[j.wasclass] = q[j.wasclass] - 1
        count(j.wasref, -1)
      end
      local both = {}
      for _, v in ipairs(is) do both[v] = true end
      for _, v in ipairs(j.was or {}) do
        if both[v] then both[v] = 1 else rem[#rem + 1] = v end
      end
      for _, v in ipairs(is) do
        if both[v] ~= 1 then
          add[#add + 1] = 0
          add[#add + 1] = v
        end
      end
    end
    local gone = {}
    for _, field in ipairs(del) do
      if not stays[field] then gone[#gone + 1] = field end
    end
    del = gone
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
    if grows then pieces('HSET', jobs, set) end -- fails when memory is full
    begin(rem)
    if not grows then pieces('HSET', jobs, set) end
    pieces('HDEL', jobs, del)
    pieces('HSET', keys, kset)
    pieces('HDEL', keys, kdel)
    pieces('ZADD', ix, add)
    savecounts()
  end

  moves(m)
  return m
end
