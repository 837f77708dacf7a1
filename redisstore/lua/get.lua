-- get.lua reads jobs.
--
--   ARGV  4 '1' = with args
--         5 how many bytes of rows are enough
--         6 IDs: how many follow
--   reply after the three: for each {ID, row, head, errors, result}, or false; fewer
--         than were asked for when the bytes are used up
local args, bytes, n = ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6])
local got, unknown = start({})
if not got then return unknown end
local ids = {}
for i = 1, n do ids[i] = ARGV[6 + i] end
local reply = {ARGV[1], stamp, wokenlist}
local m = model()
local answers, done = m.hand(ids, args, bytes)
local ended, fields = {}, {}
for i = 1, done do
  reply[3 + i] = answers[i]
  if args and answers[i] and m.job(ids[i]).state >= STATE_COMPLETED then
    ended[#ended + 1] = answers[i]
    fields[#ended] = RESULT .. ids[i]
  end
end
for i, result in ipairs(hmget(jobs, fields)) do ended[i][5] = result end
return reply
