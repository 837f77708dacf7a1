-- queues.lua counts.
--
-- ARGV  4 begin after this queue, or '', 5 how many at most
-- reply after the three: 1 where there are more, then for each
--       {name, paused, scheduled, available, running, retryable, completed, discarded, cancelled, the earliest run time of a due job}
local limit = tonumber(ARGV[5])
if not start({}) then return {ARGV[1], false} end
local names = call('ZRANGEBYLEX', ix, ARGV[4] == '' and '[q' or '(q' .. ARGV[4], '(r', 'LIMIT', 0, limit + 1)
local more = 0
if #names > limit then
  more, names[#names] = 1, nil
end
local reply = {ARGV[1], now6, wokenlist, more}
for _, member in ipairs(names) do
  local name = sub(member, 2)
  local q = qrow(name)
  local no, stop = pack('>I3', q.no), '(w' .. pack('>I3', q.no + 1)
  local past = pack('>I6', now + 1)
  local available, oldest = 0, NEVER
  local from = '[w' .. no
  local waiting = call('ZLEXCOUNT', ix, from, stop)
  while waiting > 0 do
    local first = call('ZRANGEBYLEX', ix, from, stop, 'LIMIT', 0, 1)[1]
    if not first then break end
    local prio, runat = sub(first, 5, 5), unpk('>I6', first, 6)
    local here = '[w' .. no .. prio
    if runat <= now then
      available = available + call('ZLEXCOUNT', ix, here, '(w' .. no .. prio .. past)
      oldest = min(oldest, runat)
    end
    from = '[w' .. no .. char(byte(prio) + 1)
  end
  local later = call('ZLEXCOUNT', ix, '[t' .. no .. past, '(t' .. pack('>I3', q.no + 1))
  reply[#reply + 1] = {name, q.paused, waiting - available - later + q[2], available, q[3], later, q[4], q[5], q[6], pack('>I6', oldest)}
end
return reply
