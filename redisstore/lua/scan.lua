-- scan.lua reads the names of a stretch of all keys, in no order.
--
--   ARGV  4 where to go on ('0' = begin)
--         5 how many at most, about
--   reply after the three: where to go on ('0' = it was the last), the names
local got, unknown = start({})
if not got then return unknown end
local scanned = call('HSCAN', keys, ARGV[4], 'COUNT', ARGV[5])
local names = {}
for i = 1, #scanned[2], 2 do
  if #scanned[2][i] == 32 then names[#names + 1] = scanned[2][i] end
end
return {ARGV[1], stamp, wokenlist, scanned[1], names}
