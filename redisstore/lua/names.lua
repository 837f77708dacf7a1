-- names.lua has what all of a script refers to. It stands outside of the
-- function that has the rest: a function made there takes it from the function
-- around it. Inside, Lua would look for each name in a list, for each function
-- that refers to it, whenever a script runs: that was a third of a small call.
local call, sub, byte, char = redis.call, string.sub, string.byte, string.char
local floor, max, min = math.floor, math.max, math.min
local pack, unpk, band = struct.pack, struct.unpack, bit.band
local jobs, keys, ix, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local NEVER = TIME_NEVER
local PIECE = 1500 -- arguments of one call: unpack has a limit; divisible by two and three

local now, now6, stamp
local form2 = false -- whether the partition is in form 2
local qrows, qnew, woken, wokenlist = {}, {}, {}, {}
local metaset = {} -- fields and values that qsave writes to meta
