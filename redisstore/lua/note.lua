-- note.lua writes notes, if all of these are as they were read, and drops those
-- whose time is over. It has a fifth key, as notes.lua.
--
--   ARGV  4 names: how many follow; for each: the name, the version that was read
--           ('' = it was not there), the new text ('' = it stays as it is)
--         then, until the end, for each letter that a name may begin with: the letter,
--           of how many milliseconds a note is, for how long it is kept after them
--   reply after the three: 1 = written, 0 = they are not as they were read
local notes = KEYS[5]
local got, unknown = start({})
if not got then return unknown end
local n, names, set, del = tonumber(ARGV[4]), {}, {}, {}
for i = 1, n do names[i] = ARGV[2 + 3 * i] end
for i, v in ipairs(hmget(notes, names)) do
  local was, text = ARGV[3 + 3 * i], ARGV[4 + 3 * i]
  if was ~= (v and sub(v, 1, 6) or '') then return {ARGV[1], stamp, wokenlist, 0} end
  if text ~= '' then
    set[#set + 1] = names[i]
    set[#set + 1] = pack('>I6', v and unpk('>I6', v) + 1 or 1) .. text
  end
end

local lasts = {}
for i = 5 + 3 * n, #ARGV, 3 do lasts[ARGV[i]] = {tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])} end
local cursor = '0'
repeat
  local some = call('HSCAN', notes, cursor, 'COUNT', 1000)
  cursor = some[1]
  for i = 1, #some[2], 2 do
    local of = lasts[sub(some[2][i], 1, 1)]
    local at = tonumber(sub(some[2][i], 2))
    if of and at and of[1] > 0 and (at + 1) * of[1] + of[2] <= now then del[#del + 1] = some[2][i] end
  end
until cursor == '0'
pieces('HSET', notes, set)
pieces('HDEL', notes, del)
return {ARGV[1], stamp, wokenlist, 1}
