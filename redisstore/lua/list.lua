-- list.lua reads jobs by ID, the largest first: those with IDs that clients
-- made, and the others.
--
--   ARGV  4 begin below this packed ID, 5 below this other ID; '' = from the top
--         6 how many at most of each
--         7 '1' = with args
--         8 how many bytes of rows are enough of each
--   reply after the three: for each of the two kinds {1 = there are more,
--         {ID, row, head, errors} ...}
local below4, below5, limit = ARGV[4], ARGV[5], tonumber(ARGV[6])
local args, bytes = ARGV[7] == '1', tonumber(ARGV[8])
local got, unknown = start({})
if not got then return unknown end

local ids, more = {}, 0
-- take goes down a page.
local function take(s)
  for at = #s - SIZE + 1, 1, -SIZE do
    local id = sub(s, at, at + SIZE - 1)
    if below4 == '' or below(id, below4) then
      if #ids == limit then
        more = 1
        return
      end
      ids[#ids + 1] = id
    end
  end
end
take(sub(call('HGET', jobs, BOOK) or BOTTOM, SIZE + 1))
local from = below4 == '' and '(j' or '(i' .. below4
while more == 0 do
  local some = call('ZREVRANGEBYLEX', ix, from, '[i', 'LIMIT', 0, 8)
  for _, member in ipairs(some) do
    take(call('HGET', jobs, BOOK .. sub(member, 2)) or '')
    if more == 1 then break end
  end
  if #some < 8 then break end
  from = '(' .. some[8]
end

local others, moreothers = {}, 0
for i, member in ipairs(call('ZREVRANGEBYLEX', ix, below5 == '' and '(k' or '(j' .. below5, '[j', 'LIMIT', 0,
  limit + 1)) do
  if i > limit then
    moreothers = 1
  else
    others[i] = sub(member, 2)
  end
end

local m = model()
local function read(list, after)
  local answers, n = m.hand(list, args, bytes)
  local answer = {n < #list and 1 or after}
  for i = 1, n do answer[1 + i] = answers[i] or {list[i], '', false, false} end
  return answer
end
return {ARGV[1], stamp, wokenlist, read(ids, more), read(others, moreothers)}
