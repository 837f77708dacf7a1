-- init.lua sets up a partition: none of its keys is ever empty, so that all four are in a slot or none is.
--
-- ARGV  4 what is to stand in "p": the form and the partition
-- reply token, what stands in "p", what stands in "v"
local got = call('HMGET', meta, 'p', 'v')
local at, form = got[1], got[2]
if not at then
  at, form = ARGV[4], '2'
  call('HSET', meta, 'v', form, 'p', at)
  call('HSET', jobs, '\0', 'onceq')
  call('HSET', keys, '\0', 'onceq')
  call('ZADD', ix, 0, '\0')
end
-- Every command that any script writes with is tried, to no effect: a right that is missing is told here
-- and now, and not by a script that has written a part.
call('ZREM', ix, '')
call('ZADD', ix, 0, '\0')
call('HSET', jobs, '\0', 'onceq')
call('HDEL', jobs, '')
call('HINCRBY', meta, 'PN', 0)
call('PUBLISH', ARGV[3], '')
return {ARGV[1], at, form}
