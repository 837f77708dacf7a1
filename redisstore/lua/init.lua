-- init.lua sets up a partition. None of its four keys is ever empty, so in
-- a slot that moves either all of them are there or none.
--
--   ARGV  4 partition: "3/8" is the third of eight
--   reply token, the partition that is there
local at = call('HGET', meta, 'p')
if not at then
  at = ARGV[4]
  call('HSET', meta, 'v', '1', 'p', at)
  call('HSET', jobs, '\0', 'onceq')
  call('HSET', keys, '\0', 'onceq')
  call('ZADD', ix, 0, '\0')
end
return {ARGV[1], at}
