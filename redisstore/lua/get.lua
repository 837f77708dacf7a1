-- get.lua reads jobs.
--
--   ARGV  4 how many bytes of rows are enough
--         5 IDs: how many follow
--   reply after the three: for each {ID, row, head, errors} or false; fewer than
--         were asked for when these bytes are reached
local bytes, n = tonumber(ARGV[4]), tonumber(ARGV[5])
local got, unknown = start({})
if not got then return unknown end
local ids = {}
for i = 1, n do ids[i] = ARGV[5 + i] end
local reply = {ARGV[1], stamp, wokenlist}
local answers, done = model().hand(ids, true, bytes)
for i = 1, done do reply[3 + i] = answers[i] end
return reply
