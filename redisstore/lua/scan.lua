-- scan.lua reads the names of a stretch of all keys, in no order.
--
-- ARGV  4 where to go on ('0' = begin), 5 how many at most (about)
-- reply after the three: where to go on ('0' = it was the last), the names
if not start({}) then return {ARGV[1], false} end
local got = call('HSCAN', keys, ARGV[4], 'COUNT', ARGV[5])
local names = {}
for i = 1, #got[2], 2 do
  if #got[2][i] == 32 then names[#names + 1] = got[2][i] end
end
return {ARGV[1], now6, wokenlist, got[1], names}
