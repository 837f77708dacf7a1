-- lib.lua stands before every script. A partition is four keys, and a script declares all four and
-- touches nothing else:
--
--   KEYS  1 jobs   hash   ID -> row (head and body)
--                         "\0"ID -> head of a job that was ever fetched, or whose row is large; of a
--                                   large row also its cover: all of the body but the args
--                         "\0\0"ID -> its errors; "\0\0\0" and "\0\0\0"ID -> pages of IDs;
--                         "\0\0\0N"REF -> how many jobs have a profile
--         2 keys   hash   key -> row
--         3 ix     zset   all scores 0, ordered as bytes: the members that members(), kmembers() and
--                         idpages() tell of, and "q"NAME and "l"LEASE WORKER
--         4 meta   hash   "v" and "p" (form and partition), "clock" (tests only), "q"NAME (a queue),
--                         "P"REF (a profile), "PN" (how many profiles), "k"WORKER, "c:" and a letter
--                         (where a sweep goes on)
--   ARGV  1 token     said again at the head of the reply, which is tied to its request by it
--         2 sender    who enqueues, for the message that wakes
--         3 channel   where that message goes
--   reply token, stamp, what to wake, then what the script's own header says; or token, false, "v", where
--         the partition is not there or not in a form that is known. The stamp is now, and what stands
--         behind the form in "v"
--
-- Forms of a partition, which "v" begins with: 1 = waiting jobs stand in ix by queue alone, and nobody counts
-- the jobs of a profile; 2 = by queue and kind, and "v" goes on with how often profiles were dropped (the
-- name of one that is gone may stand for another). m = it is being brought from 1 to 2 (see migrate.lua).
--
-- The layouts of rows are described in codec.go, which is the other reader of them. Instants are whole
-- milliseconds in six bytes.
-- Checks come first and writes last: after the first write nothing can fail. A server whose memory
-- is full refuses a script at its first write, if that may need memory, and never later. So a script
-- that brings something new writes that first, and any other begins with a write that is never
-- refused: see begin.
-- Strings are never compared with <: that goes by the server's locale. The score 0 is told as '0': a
-- number would be printed for each call.
local call, sub, byte, char, floor, max, min = redis.call, string.sub, string.byte, string.char, math.floor, math.max, math.min
local pack, unpk, band = struct.pack, struct.unpack, bit.band
local jobs, keys, ix, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local NEVER = 281474976710655
local PIECE = 1500 -- arguments of one call, divisible by two and three: unpack has a bound

local now, now6, stamp
local form2 = false -- the partition is in form 2
local qrows, qnew, woken, wokenlist = {}, {}, {}, {}
local metaset = {} -- fields and values of meta that qsave writes

-- pieces makes one call of many arguments, in as few calls as unpack allows.
local function pieces(command, key, args)
  for i = 1, #args, PIECE do
    call(command, key, unpack(args, i, min(i + PIECE - 1, #args)))
  end
end

local function hmget(key, fields)
  local n = #fields
  if n == 0 then return {} end
  if n <= PIECE then return call('HMGET', key, unpack(fields)) end
  local all = {}
  for i = 1, n, PIECE do
    for _, v in ipairs(call('HMGET', key, unpack(fields, i, min(i + PIECE - 1, n)))) do all[#all + 1] = v end
  end
  return all
end

-- begin makes the first write of a script one that needs no memory, so that a full server refuses
-- none of those that follow. rem is what is to be taken from ix anyway. Scripts that bring something
-- new set grows instead.
local begun, grows = false, false
local function begin(rem)
  if rem and #rem > 0 then
    pieces('ZREM', ix, rem)
  elseif not begun and not grows then
    call('ZREM', ix, '')
  end
  begun = true
end

-- clock sets now.
local function clock(set)
  if set then
    now = tonumber(set)
  else
    local t = call('TIME')
    now = t[1] * 1000 + floor(t[2] / 1000)
  end
  now6 = pack('>I6', now)
end

-- start reads the clock and the named fields of meta. It returns their values; or nil, and what the
-- script is to answer, where the partition is not in a form that is known.
local function start(fields)
  local n = #fields
  fields[n + 1], fields[n + 2] = 'clock', 'v'
  local got = hmget(meta, fields)
  local v = got[n + 2]
  form2 = v and byte(v) == 50
  if not form2 and v ~= '1' then return nil, {ARGV[1], false, v} end
  clock(got[n + 1])
  stamp = now6 .. sub(v, 2)
  return got
end

-- name packs a name with its length, so that no name is the beginning of another.
local function named(s) return pack('>Bc0', #s, s) end

-- The row of a queue: its number in ix (form 1), paused, sleepers (1 = somebody waits for its jobs), and
-- how many of its jobs (2) stand behind another, (3) run, and are (4) completed, (5) discarded, (6)
-- cancelled. How many wait is counted in ix. In form 2 it goes on, where there is any: since when sweeps
-- find it empty, and the kinds, each with its length, that somebody waits for.
local COUNTS, COUNTED = '>I3BBI5I5I5I5I5', 30

local function qread(name, text)
  local q = {name = name, mark = 0, kinds = ''}
  if text then
    q.no, q.paused, q.sleepers, q[2], q[3], q[4], q[5], q[6] = unpk(COUNTS, text)
    q[1] = 0
    if #text > COUNTED then
      q.mark = unpk('>I6', text, COUNTED + 1)
      q.kinds = sub(text, COUNTED + 7)
    end
    q.text = text
  end
  qrows[name] = q
  return q
end

local function qpacked(q)
  local text = pack(COUNTS, q.no, q.paused, q.sleepers, q[2], q[3], q[4], q[5], q[6])
  if q.mark == 0 and q.kinds == '' then return text end
  return text .. pack('>I6', q.mark) .. q.kinds
end

local function qrow(name)
  return qrows[name] or qread(name, call('HGET', meta, 'q' .. name))
end

-- qmade is the row of a queue that gets a job.
local function qmade(name)
  local q = qrow(name)
  if not q.no then
    q.no, q.paused, q.sleepers = 0, 0, 0
    for i = 1, 6 do q[i] = 0 end
    qnew[#qnew + 1] = q
    if not form2 then -- a number is never used again while the partition is in form 1
      q.no = (tonumber(call('HGET', meta, 'Q')) or 0) + #qnew
    end
  end
  return q
end

-- without is a list of packed names without one of them, and whether it was there.
local function without(list, one)
  local at = 1
  while at <= #list do
    local n = 1 + byte(list, at)
    if sub(list, at, at + n - 1) == one then return sub(list, 1, at - 1) .. sub(list, at + n), true end
    at = at + n
  end
  return list, false
end

local KINDS = 2000 -- bytes of the kinds that are waited for in a queue; beyond it any will do

-- await notes that somebody waits for jobs of a queue: of these kinds (packed), or, without them, of any.
local function await(name, kinds)
  local q = qmade(name)
  q.mark = 0
  if not form2 or not kinds then
    q.sleepers = 1
    return
  end
  for _, kind in ipairs(kinds) do
    local _, there = without(q.kinds, kind)
    if not there and #q.kinds + #kind <= KINDS then
      q.kinds = q.kinds .. kind
    elseif not there then
      q.sleepers = 1
    end
  end
end

-- wake notes that something became due in a queue; kind is that of the job, nil = of any. tellstop notes
-- that a run of a worker was asked to stop. What a message says is told in wake.go.
local function wake(queue, kind)
  local message = queue
  if form2 and kind then message = queue .. '\0' .. kind end
  if not woken[message] then
    woken[message] = {queue, kind}
    wokenlist[#wokenlist + 1] = message
  end
end

local function tellstop(worker)
  local message = '\0' .. worker
  if not woken[message] then
    woken[message] = {}
    wokenlist[#wokenlist + 1] = message
  end
end

-- disturb takes those who wait for a kind of a queue from its row, and reports whether there are any.
local function disturb(q, kind)
  local any = q.sleepers == 1
  q.sleepers = 0
  if not kind then
    any = any or q.kinds ~= ''
    q.kinds = ''
    return any
  end
  local there
  q.kinds, there = without(q.kinds, named(kind))
  return any or there
end

-- qsave writes the queues' rows that changed, and tells those who wait. The last writes of a script.
local function qsave()
  for _, message in ipairs(wokenlist) do
    local to = woken[message]
    local q = to[1] and qrow(to[1])
    if not q or q.no and disturb(q, to[2]) then
      begin()
      call('PUBLISH', ARGV[3], ARGV[2] .. message)
    end
  end
  local set = metaset
  for name, q in pairs(qrows) do
    if q.no then
      local text = qpacked(q)
      if text ~= q.text then
        set[#set + 1] = 'q' .. name
        set[#set + 1] = text
      end
    end
  end
  if #set == 0 then return end
  begin()
  if #qnew > 0 then
    local add = {}
    for i, q in ipairs(qnew) do
      add[2 * i - 1], add[2 * i] = 0, 'q' .. q.name
      if not form2 then set[#set + 1], set[#set + 2] = 'Q', q.no end
    end
    pieces('ZADD', ix, add)
  end
  pieces('HSET', meta, set)
end

