-- profile.lua reads a profile.
--
--   ARGV  4 its name
--   reply after the three: the profile, or false
local got, unknown = start({'P' .. ARGV[4]})
if not got then return unknown end
return {ARGV[1], stamp, wokenlist, got[1]}
