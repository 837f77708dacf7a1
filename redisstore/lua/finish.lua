-- finish.lua ends runs.
--
-- ARGV  4 how many follow: for each
--       ID, worker, spec (run, state, flags: 1 = rescue, 2 = the attempt is not spent; delay), error (packed, or '')
-- reply after the three: for each 2 bytes (status: 0 = done, 1 = lost, 2 = gone; state) and the queue in which a job became due
local n = tonumber(ARGV[4])
if not start({}) then return {ARGV[1], false} end
local m = model()
local ids = {}
for i = 1, n do ids[i] = ARGV[4 * i + 1] end
m.loadwith(ids)
local reply = {ARGV[1], now6, wokenlist}
for i = 1, n do
  local a = 4 * i + 1
  local j = m.job(ids[i])
  local run, state, flags, delay = unpk('>I5BBI6', ARGV[a + 2])
  local answer
  if not j then
    answer = '\2\0'
  elseif j.run == run and j.state == RUNNING and (j.worker == ARGV[a + 1] or band(flags, 1) ~= 0) then
    local as, woke = m.finishrun(j, ARGV[a + 1], state, delay, band(flags, 2) ~= 0, ARGV[a + 3])
    answer = '\0' .. char(as) .. (woke or '')
  elseif j.run == run and j.state ~= RUNNING and j.worker == ARGV[a + 1] then
    answer = '\0' .. char(j.state) -- a repeat
  else
    answer = '\1\0'
  end
  reply[3 + i] = answer
end
m.flush()
qsave()
return reply
