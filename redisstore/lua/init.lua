-- init.lua sets up a partition. None of its four keys is ever empty, so in
-- a slot that moves either all of them are there or none.
--
--   ARGV  4 the value for "p": the form and the partition
--   reply token, the value of "p", the value of "v"
local got = call('HMGET', meta, 'p', 'v')
local at, form = got[1], got[2]
if not at then
  at, form = ARGV[4], '2'
  call('HSET', meta, 'v', form, 'p', at)
  call('HSET', jobs, '\0', 'onceq')
  call('HSET', keys, '\0', 'onceq')
  call('ZADD', ix, 0, '\0')
end
-- Every command that any script writes with is tried, to no effect: a right
-- that is missing is told here and now, and not by a script that has
-- written a part.
call('ZREM', ix, '')
call('ZADD', ix, 0, '\0')
call('HSET', jobs, '\0', 'onceq')
call('HDEL', jobs, '')
call('HINCRBY', meta, 'PN', 0)
call('PUBLISH', ARGV[3], '')
return {ARGV[1], at, form}
