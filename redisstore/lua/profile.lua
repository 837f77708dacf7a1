-- profile.lua reads a profile.
--
-- ARGV  4 its name
-- reply after the three: the profile, or false
if not start({}) then return {ARGV[1], false} end
return {ARGV[1], now6, wokenlist, call('HGET', meta, 'P' .. ARGV[4])}
