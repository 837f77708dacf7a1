-- check.lua checks that rows and indexes of a partition agree, a stretch at
-- a time.
--
--   ARGV  4 'jobs', 'keys', 'ix' or 'meta'
--         5 where to go on
--         6 how many at most, about
--   reply after the three: where to go on ('' = it was the last), lines, how many
--         bytes of rows were read; of jobs and of meta also {profile, how many of
--         these jobs have it ...}
--
--   wrong, hex   a line of the reply; a text that can be printed
--   has, listed  whether ix has a member; whether an ID is in its page
local what, from, limit = ARGV[4], ARGV[5], tonumber(ARGV[6])
local got, unknown = start({})
if not got then return unknown end
local m = model()
local lines = {}
local function wrong(...) lines[#lines + 1] = table.concat({...}) end
local function hex(s) return (s:gsub('[^%w%p]', function(c) return ('\\%02x'):format(byte(c)) end)) end

local function has(member) return call('ZSCORE', ix, member) ~= false end
local open = call('HGET', jobs, BOOK) or BOTTOM
local function listed(id)
  if not packed(id) then return has('j' .. id) end
  local page
  if below(sub(open, 1, SIZE), id) then
    page = sub(open, SIZE + 1)
  else
    local member = call('ZREVRANGEBYLEX', ix, '[i' .. id, '[i', 'LIMIT', 0, 1)[1]
    page = member and call('HGET', jobs, BOOK .. sub(member, 2)) or ''
  end
  for at = 1, #page, SIZE do
    if sub(page, at, at + SIZE - 1) == id then return true end
  end
  return false
end

local next, bytes, profiles = '', 0, {}
if what == 'jobs' then
  local got = call('HSCAN', jobs, from, 'COUNT', limit)
  next = got[1]
  local ids = {}
  for i = 1, #got[2], 2 do
    local id = got[2][i]
    bytes = bytes + #got[2][i + 1]
    if byte(id) ~= 0 then
      ids[#ids + 1] = id
    elseif #id == 8 and sub(id, 1, 4) == BOOK .. 'N' then
      if call('HEXISTS', meta, 'P' .. sub(id, 5)) == 0 then wrong('count ', hex(id), ' is of no profile') end
    elseif sub(id, 1, 4) == RESULT then
      if call('HEXISTS', jobs, sub(id, 5)) == 0 then wrong('result ', hex(id), ' has no job') end
    elseif sub(id, 1, 3) == BOOK then
      if id ~= BOOK and not has('i' .. sub(id, 4)) then wrong('page ', hex(id), ' is not listed') end
    elseif id ~= '\0' and call('HEXISTS', jobs, (id:gsub('^%z+', ''))) == 0 then
      wrong('field ', hex(id), ' has no job')
    end
  end
  m.load(ids)
  for _, id in ipairs(ids) do
    local j = m.job(id)
    if not j then
      wrong('job ', hex(id), ' cannot be read')
    else
      for _, member in ipairs(members(j)) do
        if not has(member) then wrong('job ', hex(id), ' lacks ', hex(member)) end
      end
      if not listed(id) then wrong('job ', hex(id), ' is not listed') end
      if form2 and #j.ref == 4 then profiles[j.ref] = (profiles[j.ref] or 0) + 1 end
    end
  end
elseif what == 'keys' then
  local got = call('HSCAN', keys, from, 'COUNT', limit)
  next = got[1]
  local names = {}
  for i = 1, #got[2], 2 do
    if #got[2][i] == 32 then names[#names + 1] = got[2][i] end
  end
  m.loadkeys(names)
  for _, name in ipairs(names) do
    local k = m.keyrow(name)
    if k.frees < NEVER and k.next == '' and not has('x' .. pack('>I6', k.frees) .. name) then
      wrong('key ', hex(name), ' lacks its time')
    end
    if not k.gone and not m.job(k.holder) then wrong('key ', hex(name), ' has no holder ', hex(k.holder)) end
    if k.next ~= '' and not m.job(k.next) then wrong('key ', hex(name), ' has no waiter ', hex(k.next)) end
  end
elseif what == 'meta' then
  local got = call('HSCAN', meta, from, 'COUNT', limit)
  next = got[1]
  for i = 1, #got[2], 2 do
    local field, value = got[2][i], got[2][i + 1]
    if #field == 5 and sub(field, 1, 1) == 'P' then
      profiles[sub(field, 2)] = tonumber(call('HGET', jobs, '\0\0\0N' .. sub(field, 2)) or 0)
    elseif sub(field, 1, 1) == 'q' and not has(field) then
      wrong('queue ', hex(field), ' is not listed')
    end
  end
else
  local some = call('ZRANGEBYLEX', ix, from == '' and '-' or '(' .. from, '+', 'LIMIT', 0, limit)
  if #some == limit then next = some[limit] end
  for _, member in ipairs(some) do
    local kind, id, list = sub(member, 1, 1), nil, nil
    if kind == 'f' or kind == 'x' or kind == 'l' then id = sub(member, 8)
    elseif kind == 'w' and form2 then
      local at = 3 + byte(member, 2)
      id = sub(member, at + byte(member, at) + 8)
    elseif kind == 't' and form2 then id = sub(member, 9 + byte(member, 2))
    elseif kind == 'w' then id = sub(member, 12)
    elseif kind == 't' then id = sub(member, 11)
    elseif kind == 's' then id = sub(member, 3)
    elseif kind == 'r' then id = sub(member, 9 + byte(member, 2))
    elseif kind == 'j' then list = sub(member, 2)
    elseif kind == 'i' then
      local page = call('HGET', jobs, BOOK .. sub(member, 2)) or ''
      if page == '' then wrong('page ', hex(member), ' is not there') end
      local last
      for at = 1, #page, SIZE do
        local one = sub(page, at, at + SIZE - 1)
        if call('HEXISTS', jobs, one) == 0 then
          wrong('page ', hex(member), ' lists ', hex(one), ', which is not there')
        end
        if last and not below(last, one) then wrong('page ', hex(member), ' is not in order') end
        last = one
      end
    elseif kind == 'q' then
      if call('HEXISTS', meta, 'q' .. sub(member, 2)) == 0 then wrong('queue ', hex(member), ' is not there') end
    elseif member ~= '\0' then
      wrong('member ', hex(member), ' is of no kind')
    end
    if kind == 'x' then
      m.loadkeys({id})
      local k = m.keyrow(id)
      if not k or 'x' .. pack('>I6', k.frees) .. id ~= member then wrong('member ', hex(member), ' is of no key') end
    elseif kind == 'l' then
      local row = call('HGET', meta, 'k' .. id)
      if not row or sub(row, 1, 6) ~= sub(member, 2, 7) then wrong('member ', hex(member), ' is of no worker') end
    elseif list then
      if call('HEXISTS', jobs, list) == 0 then wrong('member ', hex(member), ' is of no job') end
    elseif id then
      m.load({id})
      local j, ok = m.job(id), false
      for _, is in ipairs(j and members(j) or {}) do ok = ok or is == member end
      if not ok then wrong('member ', hex(member), ' is of no job') end
    end
  end
end
if next == '0' and what ~= 'ix' then next = '' end
local counted = {}
for ref, n in pairs(profiles) do counted[#counted + 1], counted[#counted + 2] = ref, n end
return {ARGV[1], stamp, wokenlist, next, lines, bytes, counted}
