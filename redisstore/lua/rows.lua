-- rows.lua, after lib.lua and pages.lua, reads and writes the rows of jobs,
-- and says which members of ix a job has.
--
--   ends(till, state)    whether a job that finishes like this brings the event
--   keeps(p, state)      how long a job is kept that finished like this
--   profile(ref)         what many jobs have in common; readprofile reads it
--   count, savecounts    how many jobs have a profile
--   lane, tally          the prefixes in ix of the waiting and the retryable jobs
--                        of a profile
--   readhead, writehead  a head
--   readbody, writebody  a body, without its args
--   due(j), class(j)     whether a job is available; where its queue counts it
--   members(j)           the members of ix for a job

-- codec.go has the layouts, field by field.

local RESULT = '\0\0\0R' -- stands before the ID in the field of a result

-- ends reports whether the event comes when a job finishes in this state.
local function ends(till, state)
  if till <= UNTIL_FINISHED then return state >= STATE_COMPLETED end
  if till == UNTIL_SUCCEEDED then return state == STATE_COMPLETED end
  if till == UNTIL_FAILED then return state == STATE_DISCARDED or state == STATE_CANCELLED end
  return false
end

local profof = {}

local function readprofile(text)
  local p = {}
  local at
  p.kind, p.queue, p.enc, p.max, p.timeout, p.retention, p.till, p.window, p.ttl, p.fromenq, at =
    unpk(PROFILE_FORMAT, text)
  p.failed = at <= #text and unpk('>I6', text, at) or p.retention
  return p
end

-- keeps is how long a job is kept that ended in this state.
local function keeps(p, state)
  return state > STATE_COMPLETED and p.failed or p.retention
end

-- profile is what many jobs have in common: a field of meta, or inline
-- where meta has too many.
local function profile(ref)
  local p = profof[ref]
  if not p then
    local text = ref
    if #ref == 4 then text = call('HGET', meta, 'P' .. ref) end
    if not text then error('a profile is missing') end
    p = readprofile(text)
    profof[ref] = p
  end
  return p
end

local used, wanted = {}, {} -- by REF: how many more jobs have it; whether a job is written with it

local function count(ref, n)
  if form2 and #ref == 4 then used[ref] = (used[ref] or 0) + n end
end

local function savecounts()
  for ref, n in pairs(used) do
    if n ~= 0 then call('HINCRBY', jobs, '\0\0\0N' .. ref, n) end
  end
  used = {}
end

-- lane is the prefix in ix of the waiting jobs of a profile, tally that of
-- its retryable ones.
local function lane(p)
  if not p.lane then
    p.lane = 'w' .. (form2 and named(p.queue) .. named(p.kind) or pack('>I3', qmade(p.queue).no))
  end
  return p.lane
end

local function tally(p) return 't' .. (form2 and named(p.queue) or pack('>I3', qmade(p.queue).no)) end

-- readhead reads a head into a table. A head has only what differs from the
-- profile. It also returns where the body begins.
local function readhead(id, s)
  local a, b, enq = unpk('>BBI6', s)
  local j = {id = id, state = band(a, A_STATE), origin = floor(band(a, A_ORIGIN) / (A_STATE + 1)),
    keyless = band(a, A_KEYLESS) ~= 0, cancel = a >= A_CANCEL,
    prio = band(b, B_PRIORITY), made = b >= B_MADE, enq = enq}
  local at = HEAD_RUNAT
  if band(b, B_NOW) ~= 0 then
    j.runat = enq
  else
    j.runat, at = unpk('>I6', s, at)
  end
  if band(b, B_INLINE) ~= 0 then
    j.ref, at = unpk('>I2c0', s, at)
  else
    j.ref, at = sub(s, at, at + 3), at + 4
  end
  local p = profile(j.ref)
  j.prof = p
  j.nonce, at = sub(s, at, at + 7), at + 8
  if band(a, A_KEY) ~= 0 then j.key, at = sub(s, at, at + 31), at + 32 end
  if band(b, B_LONG) ~= 0 then
    j.attempt, j.max, j.run, j.anchor, j.started, j.finished, j.fetch, j.enc, j.worker, j.behind, j.displaced,
      j.superseded, at =
      unpk(LONG_FORMAT, s, at)
  else
    j.attempt, j.max, j.run, j.started, j.finished, j.fetch, j.enc = 0, p.max, 0, 0, 0, 0, p.enc
    j.worker, j.behind, j.displaced, j.superseded = '', '', '', ''
    j.anchor = 0
    if j.key then j.anchor = p.fromenq == 1 and enq or max(enq, j.runat) end
  end
  return j, at
end

-- writehead is the reverse of readhead.
local function writehead(j)
  local p = j.prof
  local derived = 0
  if j.key then derived = p.fromenq == 1 and j.enq or max(j.enq, j.runat) end
  local ext = j.run > 0 or j.attempt ~= 0 or j.max ~= p.max or j.enc ~= p.enc or j.anchor ~= derived or
    j.finished ~= 0 or j.worker ~= '' or j.behind ~= '' or j.displaced ~= '' or j.superseded ~= ''
  local same = not ext and j.runat == j.enq
  local inline = #j.ref ~= 4
  local a = j.state + j.origin * (A_STATE + 1) + (j.key and A_KEY or 0) + (j.keyless and A_KEYLESS or 0) +
    (j.cancel and A_CANCEL or 0)
  local b = j.prio + (ext and B_LONG or 0) + (same and B_NOW or 0) + (inline and B_INLINE or 0) +
    (j.made and B_MADE or 0)
  local s = pack('>BBI6', a, b, j.enq)
  if not same then s = s .. pack('>I6', j.runat) end
  if inline then s = s .. pack('>I2', #j.ref) end
  s = s .. j.ref .. j.nonce
  if j.key then s = s .. j.key end
  if ext then
    s = s .. pack(LONG_FORMAT, j.attempt, j.max, j.run, j.anchor, j.started, j.finished, j.fetch,
      j.enc,
      #j.worker, j.worker, #j.behind, j.behind, #j.displaced, j.displaced, #j.superseded, j.superseded)
  end
  return s
end

-- readbody reads the body of a job at a place of s: in its row, or in its
-- cover, which ends with the size of the args (4 bytes) in place of the
-- args.
local function readbody(j, s, at, cover)
  local b = {text = '', meta = '', tags = '', extra = ''}
  if j.key then b.digest, at = sub(s, at, at + 15), at + 16 end
  b.flags, at = byte(s, at), at + 1
  local told
  if j.key then told, at = unpk('>I2c0', s, at) end
  if band(b.flags, BODY_META) ~= 0 then b.meta, at = unpk('>I3c0', s, at) end
  local cut = b.meta:find('\0', 1, true)
  if cut then
    b.meta, b.extra = sub(b.meta, 1, cut - 1), sub(b.meta, cut + 1)
    if b.meta == 'null' then b.meta, b.flags = '', b.flags - BODY_META end
  end
  if band(b.flags, BODY_TAGS) ~= 0 then b.tags, at = unpk('>I2c0', s, at) end
  if cover then
    b.size = unpk('>I4', s, at)
  else
    b.args = sub(s, at)
    b.size = #b.args
  end
  if band(b.flags, BODY_COMPRESSED) ~= 0 then -- the text is compressed, see compressText in codec.go
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
    told, b.flags = table.concat(text), b.flags - BODY_COMPRESSED
  end
  b.text = told or ''
  return b
end

-- writebody is the reverse of readbody, without the args.
local function writebody(j, b)
  local meta, flags = b.meta, b.flags
  if b.extra ~= '' then
    if meta == '' then meta, flags = 'null', flags + BODY_META end
    meta = meta .. '\0' .. b.extra
  end
  local s = (j.key and b.digest or '') .. char(flags)
  if j.key then s = s .. pack('>I2', #b.text) .. b.text end
  if band(flags, BODY_META) ~= 0 then s = s .. pack('>I3', #meta) .. meta end
  if band(b.flags, BODY_TAGS) ~= 0 then s = s .. pack('>I2', #b.tags) .. b.tags end
  return s
end

-- due reports whether a job is available.
local function due(j) return j.state <= STATE_RETRYABLE and j.behind == '' and j.runat <= now end

-- members lists the members of ix that a job has, besides its place in the
-- list of IDs.
local function members(j)
  local state = j.state
  if state <= STATE_RETRYABLE then
    if j.behind ~= '' then return {} end
    local at = pack('>I6', j.runat) .. j.id
    local w = lane(j.prof) .. char(j.prio) .. at
    if state == STATE_SCHEDULED then return {w} end
    return {w, tally(j.prof) .. at, 's\1' .. j.id}
  elseif state == STATE_RUNNING then
    return {'r' .. named(j.worker) .. pack('>I6', j.fetch) .. j.id}
  end
  local f = 'f' .. pack('>I6', j.finished + keeps(j.prof, state)) .. j.id
  if state == STATE_COMPLETED then return {f} end
  return {f, 's' .. char(state) .. j.id}
end

-- class is the number in the row of the queue that counts this job.
local function class(j)
  if j.state <= STATE_RETRYABLE then return j.behind == '' and COUNT_WAITING or COUNT_BEHIND end
  return j.state + 1
end

