-- init.lua sets up a partition. None of its four keys is ever empty, so in
-- a slot that moves either all of them are there or none.
--
--   ARGV  4 the value for "p": the form and the partition
--   reply token, the value of "p", the value of "v"
local got = call('HMGET', meta, 'p', 'v')
local at, form = got[1], got[2]
-- Every command that any script uses is tried here, to no effect. Open then
-- reports a right that is missing, and no script does so after it has
-- written a part.
if at then call('ZREM', ix, '') end -- the first write, which a full server allows
call('ZADD', ix, 0, '\0')
call('ZREM', ix, '')
call('HSET', jobs, '\0', 'onceq')
call('HSET', keys, '\0', 'onceq')
call('HDEL', jobs, '')
call('HINCRBY', jobs, '\0\0\0N', 0)
call('HDEL', jobs, '\0\0\0N')
call('PUBLISH', ARGV[3], '')
call('HGET', meta, 'p')
call('HEXISTS', meta, 'p')
call('HSTRLEN', meta, 'p')
call('HSCAN', meta, '0', 'COUNT', 1)
call('TIME')
call('ZSCORE', ix, '')
call('ZLEXCOUNT', ix, '(\0', '(\0')
call('ZRANGEBYLEX', ix, '(\0', '(\0')
call('ZREVRANGEBYLEX', ix, '(\0', '(\0')
if not at then
  at, form = ARGV[4], '2'
  call('HSET', meta, 'v', form, 'p', at) -- last: from now on the partition is there
end
return {ARGV[1], at, form}
