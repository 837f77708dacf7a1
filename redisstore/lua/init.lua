-- init.lua sets up a partition: none of its keys is ever empty, so that all four are in a slot or none is.
--
-- ARGV  4 partition  "3/8": this partition and how many there are
-- reply token, the partition that stands there
local at = call('HGET', meta, 'p')
if not at then
  at = ARGV[4]
  call('HSET', meta, 'v', '1', 'p', at)
  call('HSET', jobs, '\0', 'onceq')
  call('HSET', keys, '\0', 'onceq')
  call('ZADD', ix, 0, '\0')
end
return {ARGV[1], at}
