-- list.lua reads jobs by ID, the largest first.
--
-- ARGV  4 begin below this ID, or '', 5 how many at most
-- reply after the three: 1 where there are more, then for each {ID, row, head, errors}
local limit = tonumber(ARGV[5])
if not start({}) then return {ARGV[1], false} end
local from = ARGV[4] == '' and '(j' or '(i' .. ARGV[4]
local ids = call('ZREVRANGEBYLEX', ix, from, '[i', 'LIMIT', 0, limit + 1)
local more = 0
if #ids > limit then
  more, ids[#ids] = 1, nil
end
local fields = {}
for i, member in ipairs(ids) do
  local id = sub(member, 2)
  ids[i], fields[3 * i - 2], fields[3 * i - 1], fields[3 * i] = id, id, '\0' .. id, '\0\0' .. id
end
local got = hmget(jobs, fields)
local reply = {ARGV[1], now6, wokenlist, more}
for i, id in ipairs(ids) do reply[4 + i] = {id, got[3 * i - 2], got[3 * i - 1], got[3 * i]} end
return reply
