-- keys.lua reads keys.
--
--   ARGV  4 keys: how many follow
--   reply after the three: for each {1 = held or 0, row with the effective holder,
--         holder}, or false; a large holder comes without args
local n = tonumber(ARGV[4])
local got, unknown = start({})
if not got then return unknown end
local m = model()
local names = {}
for i = 1, n do names[i] = ARGV[4 + i] end
m.loadkeys(names)
m.bodies(m.all(), false)
local reply = {ARGV[1], stamp, wokenlist}
for i = 1, n do
  local k = m.keyrow(names[i])
  if k then
    local shown, holder = m.kview(k)
    reply[3 + i] = {m.held(k) and 1 or 0, m.krow(shown), holder and {m.triple(holder)} or false}
  else
    reply[3 + i] = false
  end
end
return reply
