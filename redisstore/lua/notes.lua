-- notes.lua reads what was noted of enqueues and runs: see internal/tally. It has a
-- fifth key, a hash: name -> version (6 bytes) and text.
--
--   ARGV  4 names: how many follow
--         then the names
--   reply after the three: for each what the hash has, or false
local notes = KEYS[5]
local got, unknown = start({})
if not got then return unknown end
local reply, names = {ARGV[1], stamp, wokenlist}, {}
for i = 1, tonumber(ARGV[4]) do names[i] = ARGV[4 + i] end
for i, v in ipairs(hmget(notes, names)) do reply[3 + i] = v end
return reply
