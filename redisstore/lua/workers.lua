-- workers.lua lists the workers that are known to a partition.
--
--   ARGV  4 begin after this member of ix, or ''
--   reply after the three: where to go on, '' = these were the last; then for each
--         {worker, when its lease ends, the lease in milliseconds, how many jobs run
--         for it, since when it is known and what it says of itself, or false}
local LIMIT = 500
local got, unknown = start({})
if not got then return unknown end
local members = call('ZRANGEBYLEX', ix, ARGV[4] == '' and '[l' or '(' .. ARGV[4], '(m', 'LIMIT', 0, LIMIT)
local reply = {ARGV[1], stamp, wokenlist, #members == LIMIT and members[LIMIT] or ''}
for _, member in ipairs(members) do
  local worker = sub(member, 8)
  local row = call('HMGET', meta, 'k' .. worker, 'a' .. worker)
  if row[1] then
    local ends, _, _, _, lease = unpk(WORKER_FORMAT, row[1])
    local from = '[r' .. named(worker)
    local running = call('ZLEXCOUNT', ix, from, from .. string.rep('\255', 7))
    reply[#reply + 1] = {worker, ends, lease, running, row[2]}
  end
end
return reply
