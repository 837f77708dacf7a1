-- lost.lua lists the runs of workers that are confirmed lost, and forgets
-- the workers that have none left.
--
--   ARGV  4 how many runs at most
--         5 '1' = forget
--         6 workers: how many follow; for each its name and its beat (-1 = it is not known)
--   reply after the three: {{ID, row, head, errors} ...}, large ones without args;
--         1 = there are more; {the workers that have no run left}
local limit, forget, n = tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6])
local got, unknown = start({})
if not got then return unknown end
local ids, more, gone, rem = {}, 0, {}, {}
for i = 1, n do
  local worker, beat = ARGV[5 + 2 * i], tonumber(ARGV[6 + 2 * i])
  local row = call('HGET', meta, 'k' .. worker)
  local leaseends, is = 0, -1
  if row then leaseends, is = unpk('>I6I6', row) end
  if is == beat and leaseends <= now then
    local range = 'r' .. named(worker)
    local last = '[' .. range .. string.rep('\255', 7)
    local some = call('ZRANGEBYLEX', ix, '[' .. range, last, 'LIMIT', 0, limit - #ids + 1)
    for _, member in ipairs(some) do
      if #ids == limit then
        more = 1
      else
        ids[#ids + 1] = sub(member, #range + 7)
      end
    end
    if #some == 0 then
      gone[#gone + 1] = worker
      if row and forget then rem[#rem + 1] = 'l' .. pack('>I6', leaseends) .. worker end
    end
  end
end
local reply, done = model().hand(ids, false, 4194304)
if done < #ids then more = 1 end
if #rem > 0 then
  begin(rem)
  for _, member in ipairs(rem) do call('HDEL', meta, 'k' .. sub(member, 8), 'a' .. sub(member, 8)) end
end
return {ARGV[1], stamp, wokenlist, reply, more, gone}
