-- get.lua reads jobs.
--
-- ARGV  4 IDs: how many follow
-- reply after the three: for each {row, head, errors}, or false
local n = tonumber(ARGV[4])
if not start({}) then return {ARGV[1], false} end
local fields = {}
for i = 1, n do
  local id = ARGV[4 + i]
  fields[3 * i - 2], fields[3 * i - 1], fields[3 * i] = id, '\0' .. id, '\0\0' .. id
end
local got = hmget(jobs, fields)
local reply = {ARGV[1], now6, wokenlist}
for i = 1, n do
  local row = got[3 * i - 2]
  reply[3 + i] = row and {row, got[3 * i - 1], got[3 * i]} or false
end
return reply
