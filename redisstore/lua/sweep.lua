-- sweep.lua tidies: finished jobs whose retention has passed, keys that hold no longer, and which workers are late.
--
-- ARGV  4 how many of each at most, 5 how many finished jobs may be kept
-- reply after the three: jobs pruned, of them before their time, keys dropped, 1 where there is more, {worker, beat, lease ...} (beat -1: it
-- runs jobs and is not known)
local limit, cap = tonumber(ARGV[4]), tonumber(ARGV[5])
if not start({}) then return {ARGV[1], false} end
local m = model()
local more = 0

local ids, early = {}, 0
local stop = '(f' .. pack('>I6', now + 1)
local due = call('ZRANGEBYLEX', ix, '[f', stop, 'LIMIT', 0, limit + 1)
for i, member in ipairs(due) do
  if i > limit then
    more = 1
  else
    ids[i] = sub(member, 8)
  end
end
local kept = call('ZLEXCOUNT', ix, '[f', '(g') - #due
if kept > cap and #ids < limit then -- too many for the memory: the oldest that hold no key go first
  local want = min(limit - #ids, kept - cap)
  if want < kept - cap then more = 1 end
  local some, names = {}, {}
  for i, member in ipairs(call('ZRANGEBYLEX', ix, '[' .. sub(stop, 2), '(g', 'LIMIT', 0, 2 * limit)) do some[i] = sub(member, 8) end
  m.loadwith(some)
  for _, id in ipairs(some) do
    if early == want then break end
    local j = m.job(id)
    local k = j.key and m.keyrow(j.key)
    if not k or k.holder ~= id or k.gone or not m.held(k) then
      early = early + 1
      ids[#ids + 1] = id
    end
  end
  if early < want then more = 0 end -- the rest hold keys
end
m.loadwith(ids)
for _, id in ipairs(ids) do m.remove(m.job(id), true) end

local names = {}
for i, member in ipairs(call('ZRANGEBYLEX', ix, '[x', '(x' .. pack('>I6', now + 1), 'LIMIT', 0, limit + 1)) do
  if i > limit then
    more = 1
  else
    names[i] = sub(member, 8)
  end
end
m.loadkeys(names)
local dropped = 0
for _, name in ipairs(names) do
  local k = m.keyrow(name)
  if k and not m.held(k) then
    m.drop(k)
    dropped = dropped + 1
  end
end

local late = {}
local WORKERS = 1000
for _, member in ipairs(call('ZRANGEBYLEX', ix, '[l', '(l' .. pack('>I6', now + 1), 'LIMIT', 0, WORKERS)) do
  local worker = sub(member, 8)
  local _, beat, _, _, lease = unpk('>I6I6c8I6I6', call('HGET', meta, 'k' .. worker))
  late[#late + 1], late[#late + 2], late[#late + 3] = worker, beat, lease
end
local from = '[r'
for _ = 1, WORKERS do
  local first = call('ZRANGEBYLEX', ix, from, '(s', 'LIMIT', 0, 1)[1]
  if not first then break end
  local worker = unpk('>Bc0', first, 2)
  if call('HEXISTS', meta, 'k' .. worker) == 0 then late[#late + 1], late[#late + 2], late[#late + 3] = worker, -1, 0 end
  from = '[r' .. pack('>Bc0', #worker, worker) .. string.rep('\255', 7)
end
m.flush()
qsave()
return {ARGV[1], now6, wokenlist, #ids, early, dropped, more, late}
