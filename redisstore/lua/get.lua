-- get.lua reads jobs.
--
--   ARGV  4 '1' = with args
--         5 how many bytes of rows are enough
--         6 IDs: how many follow
--   reply after the three: for each {ID, row, head, errors}, or false; fewer than
--         were asked for when the bytes are used up
local args, bytes, n = ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6])
local got, unknown = start({})
if not got then return unknown end
local ids = {}
for i = 1, n do ids[i] = ARGV[6 + i] end
local reply = {ARGV[1], stamp, wokenlist}
local answers, done = model().hand(ids, args, bytes)
for i = 1, done do reply[3 + i] = answers[i] end
return reply
