-- lib.lua stands before every script. A partition is four keys, and a script declares all four and touches nothing else:
--
--   KEYS  1 jobs   hash   ID -> row (head and body); "\0"ID -> head of a job that was ever fetched; "\0\0"ID -> its errors; "\0\0\0" and
--                         "\0\0\0"ID -> pages of IDs
--         2 keys   hash   key -> row
--         3 ix     zset   all scores 0, ordered as bytes: the members that members(), kmembers() and idpages() tell of
--         4 meta   hash   "v" and "p" (format and partition), "clock" (tests only), "q"NAME, "P"REF, "k"WORKER
--   ARGV  1 token     said again at the head of the reply, which is tied to its request by it
--         2 sender    who enqueues, for the message that wakes
--         3 channel   where that message goes
--   reply token, now, woken queues, then what the script's own header says
--
-- The layouts of rows are described in codec.go, which is the other reader of them. Instants are whole milliseconds in six bytes.
-- Checks come first and writes last: after the first write nothing can fail. A server whose memory
-- is full refuses a script at its first write, if that may need memory, and never later. So a script
-- that brings something new writes that first, and any other begins with a write that is never
-- refused: see begin.
-- Strings are never compared with <: that goes by the server's locale. The score 0 is told as '0': a number would be printed for each call.
local call, sub, byte, char, floor, max, min = redis.call, string.sub, string.byte, string.char, math.floor, math.max, math.min
local pack, unpk, band = struct.pack, struct.unpack, bit.band
local jobs, keys, ix, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local NEVER = 281474976710655
local PIECE = 1500 -- arguments of one call, divisible by two and three: unpack has a bound

local now, now6
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

-- start reads the clock and the named fields of meta. It returns their values, or nil where the partition is not set up.
local function start(fields)
  fields[#fields + 1] = 'clock'
  fields[#fields + 1] = 'v'
  local got = hmget(meta, fields)
  if got[#fields] ~= '1' then return nil end
  if got[#fields - 1] then
    now = tonumber(got[#fields - 1])
  else
    local t = call('TIME')
    now = t[1] * 1000 + floor(t[2] / 1000)
  end
  now6 = pack('>I6', now)
  return got
end

-- A queue's row: its number in ix, paused, sleepers (somebody waits for its jobs), and how many of its jobs (2) stand behind another, (3) run,
-- and are (4) completed, (5) discarded, (6) cancelled. How many wait is counted in ix.
local function qread(name, text)
  local q = {name = name}
  if text then
    q.no, q.paused, q.sleepers, q[2], q[3], q[4], q[5], q[6] = unpk('>I3BBI5I5I5I5I5', text)
    q[1] = 0
    q.text = text
  end
  qrows[name] = q
  return q
end

local function qrow(name)
  return qrows[name] or qread(name, call('HGET', meta, 'q' .. name))
end

-- qmade is the row of a queue that gets a job.
local function qmade(name)
  local q = qrow(name)
  if not q.no then
    q.no, q.paused, q.sleepers = -1, 0, 0
    for i = 1, 6 do q[i] = 0 end
    qnew[#qnew + 1] = q
    -- a number is never used again while the partition is kept
    q.no = (tonumber(call('HGET', meta, 'Q')) or 0) + #qnew
  end
  return q
end

-- wake notes that something became due in a queue. tellstop notes that a run of a worker was asked to
-- stop: its mark is a byte that no name begins with.
local function wake(name)
  if not woken[name] then
    woken[name] = true
    wokenlist[#wokenlist + 1] = name
  end
end

local function tellstop(worker) wake('\0' .. worker) end

-- qsave writes the queues' rows that changed, and tells those who sleep. The last writes of a script.
local function qsave()
  for _, name in ipairs(wokenlist) do
    local q = byte(name) ~= 0 and qrow(name)
    if not q or q.no and q.sleepers == 1 then
      if q then q.sleepers = 0 end
      begin()
      call('PUBLISH', ARGV[3], ARGV[2] .. name)
    end
  end
  local set = metaset
  for name, q in pairs(qrows) do
    if q.no then
      local text = pack('>I3BBI5I5I5I5I5', q.no, q.paused, q.sleepers, q[2], q[3], q[4], q[5], q[6])
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
      set[#set + 1], set[#set + 2] = 'Q', q.no
    end
    pieces('ZADD', ix, add)
  end
  pieces('HSET', meta, set)
end

