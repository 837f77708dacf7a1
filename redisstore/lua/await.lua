-- await.lua notes that somebody waits for jobs of queues, so that who makes one due there says so.
--
-- ARGV  4 queues: how many follow
local fields = {}
for i = 1, tonumber(ARGV[4]) do fields[i] = 'q' .. ARGV[4 + i] end
local n = #fields
local got = start(fields)
if not got then return {ARGV[1], false} end
for i = 1, n do
  qread(ARGV[4 + i], got[i])
  qmade(ARGV[4 + i]).sleepers = 1
end
qsave()
return {ARGV[1], now6, wokenlist}
