-- keys.lua reads keys.
--
-- ARGV  4 keys: how many follow
-- reply after the three: for each {held (1, else 0), row as of its effective holder, holder}, or false
local n = tonumber(ARGV[4])
if not start({}) then return {ARGV[1], false} end
local m = model()
local names = {}
for i = 1, n do names[i] = ARGV[4 + i] end
m.loadkeys(names)
local reply = {ARGV[1], now6, wokenlist}
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
