-- await.lua notes that somebody waits for jobs of queues, so that a script
-- that makes a job due there publishes a message.
--
--   ARGV  4 how many queues follow; for each its name, how many kinds (-1 = any), and the kinds
local fields, kindsof, at = {}, {}, 5
for i = 1, tonumber(ARGV[4]) do
  local n = tonumber(ARGV[at + 1])
  fields[i] = 'q' .. ARGV[at]
  if n >= 0 then
    kindsof[i] = {}
    for k = 1, n do kindsof[i][k] = named(ARGV[at + 1 + k]) end
  end
  at = at + 2 + max(n, 0)
end
local n = #fields
local got, unknown = start(fields)
if not got then return unknown end
for i = 1, n do
  local name = sub(fields[i], 2)
  if not qrows[name] then qread(name, got[i]) end
  await(name, kindsof[i])
end
qsave()
return {ARGV[1], stamp, wokenlist}
