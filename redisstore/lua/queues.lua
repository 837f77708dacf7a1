-- queues.lua counts the jobs of queues.
--
--   ARGV  4 begin after this queue, or ''
--         5 how many at most
--   reply after the three: 1 = there are more; then for each queue
--         {name, when its pause ends (see pauseends), scheduled, available, running, retryable,
--         completed, discarded, cancelled, the earliest run time of a due job}
local limit = tonumber(ARGV[5])
local got, unknown = start({})
if not got then return unknown end
local names = call('ZRANGEBYLEX', ix, ARGV[4] == '' and '[q' or '(q' .. ARGV[4], '(r', 'LIMIT', 0, limit + 1)
local more, calls, CALLS = 0, 0, 2000
if #names > limit then
  more, names[#names] = 1, nil
end
local reply = {ARGV[1], stamp, wokenlist, more}
local past = pack('>I6', now + 1)
for i, member in ipairs(names) do
  if i > 1 and calls > CALLS then
    reply[4] = 1
    break
  end
  local name = sub(member, 2)
  local q = qrow(name)
  local pre, tallied = 'w' .. named(name), 't' .. named(name)
  if not form2 then pre, tallied = 'w' .. pack('>I3', q.no), 't' .. pack('>I3', q.no) end
  local available, oldest = 0, NEVER
  local from, stop = '[' .. pre, '(' .. pre .. '\255'
  local waiting = call('ZLEXCOUNT', ix, from, stop)
  while waiting > 0 do
    local first = call('ZRANGEBYLEX', ix, from, stop, 'LIMIT', 0, 1)[1]
    calls = calls + 1
    if not first then break end
    local at = #pre + 1 -- where the priority is
    if form2 then at = at + 1 + byte(first, at) end
    local prio, runat = unpk(PLACE_FORMAT, first, at)
    local here = sub(first, 1, at)
    if runat <= now then
      available = available + call('ZLEXCOUNT', ix, '[' .. here, '(' .. here .. past)
      calls = calls + 1
      oldest = min(oldest, runat)
    end
    from = '[' .. sub(first, 1, at - 1) .. char(prio + 1)
  end
  local later = call('ZLEXCOUNT', ix, '[' .. tallied .. past, '(' .. tallied .. '\255')
  reply[#reply + 1] = {name, pauseends(q), waiting - available - later + q[COUNT_BEHIND], available,
    q[COUNT_RUNNING], later, q[COUNT_COMPLETED], q[COUNT_DISCARDED], q[COUNT_CANCELLED], pack('>I6', oldest)}
end
return reply
