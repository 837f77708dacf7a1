-- lib.lua comes first in every script, after names.lua. A partition is four
-- keys. A script declares all four and touches nothing else:
--
--   KEYS  1 jobs  hash  ID        row: head and body
--                       "\0"ID    head of a job that was ever fetched, or whose row
--                                 is large; of a large row also its cover: all of
--                                 the body but the args
--                       "\0\0"ID  its errors
--                       "\0\0\0R"ID  its result
--                       "\0\0\0" and "\0\0\0"ID  pages of IDs, see pages.lua
--                       "\0\0\0N"REF  how many jobs have a profile
--         2 keys  hash  key -> row
--         3 ix    zset  all scores 0, ordered as bytes; the members are those of
--                       members(), kmembers() and idpages(), "q"NAME, and
--                       "l"LEASE WORKER
--         4 meta  hash  "v" and "p"  form and partition
--                       "clock"      tests only
--                       "q"NAME      a queue
--                       "u"NAME      when its pause ends
--                       "P"REF       a profile
--                       "PN"         how many profiles
--                       "k"WORKER    a worker
--                       "a"WORKER    since when it is known, and what it says of itself
--                       "c:" and a letter  where a sweep goes on
--   ARGV  1 token    repeated at the head of the reply, which proves that the
--                    reply belongs to the request
--         2 sender   who sends, for the message that wakes
--         3 channel  where that message goes
--   reply token, stamp, what to wake, then what the header of the script says; or
--         token, false, "v" if the partition does not exist or has an unknown form.
--         The stamp is now, and what follows the form in "v"
--
-- Forms of a partition, the first byte of "v". 1: waiting jobs are in ix by
-- queue alone, and the jobs of a profile are not counted. 2: by queue and
-- kind; the rest of "v" is how often profiles were dropped, because the name
-- of a dropped profile may mean another one later. m: it is being brought
-- from 1 to 2 (see migrate.lua).
--
-- codec.go, the other reader of rows, describes their layouts. Instants are
-- whole milliseconds in six bytes. Checks come first and writes last: after
-- the first write nothing can fail. A server whose memory is full refuses a
-- script at its first write, if that may need memory, and never later. So a
-- script that brings something new writes that first, and any other begins
-- with a write that is never refused: see begin. Strings are never compared
-- with <, which follows the locale of the server. The score 0 is passed as
-- '0', because a number would be printed for each call.
--
--   reading  start, clock, hmget, qread, qrow
--   writing  begin, pieces, qmade, qpacked, qsave: rows of queues, and then messages
--   names    named, without: a packed list of names
--   waking   await notes who waits; wake, tellstop and disturb find who is to be
--            told, and qsave tells them

-- pieces makes one call of many arguments, in as few calls as unpack
-- allows.
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

-- begin makes the first write of a script one that needs no memory, so that
-- a full server refuses none of those that follow. rem is what is to be
-- taken out of ix anyway. Scripts that bring something new set grows
-- instead.
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

-- start reads the clock and the named fields of meta. It returns their
-- values; or nil, and the answer of the script, if the form of the
-- partition is not known. at is the time, if the script has read it: before
-- Redis 7.2 a second look within one script sees a later time.
local function start(fields, at)
  local n = #fields
  fields[n + 1], fields[n + 2] = 'clock', 'v'
  local got = hmget(meta, fields)
  local v = got[n + 2]
  form2 = v and byte(v) == FORM_TWO
  if not form2 and v ~= '1' then return nil, {ARGV[1], false, v} end
  clock(at or got[n + 1])
  stamp = now6 .. sub(v, 2)
  return got
end

-- named packs a name with its length, so that no name is the beginning of
-- another.
local function named(s) return pack('>Bc0', #s, s) end

-- The row of a queue: its number in ix (form 1), paused, sleepers (1 =
-- somebody waits for its jobs), and how many of its jobs (2) stand behind
-- another, (3) run, and are (4) completed, (5) discarded, (6) cancelled.
-- Waiting jobs are counted in ix. In form 2 there may follow: since when
-- sweeps find it empty, and the kinds, each with its length, for which
-- somebody waits.
local function qread(name, text)
  local q = {name = name, mark = 0, kinds = ''}
  if text then
    q.no, q.paused, q.sleepers, q[COUNT_BEHIND], q[COUNT_RUNNING], q[COUNT_COMPLETED], q[COUNT_DISCARDED],
      q[COUNT_CANCELLED] = unpk(QUEUE_FORMAT, text)
    q[COUNT_WAITING] = 0
    if #text > QUEUE_SIZE then
      q.mark = unpk('>I6', text, QUEUE_SIZE + 1)
      q.kinds = sub(text, QUEUE_SIZE + 7)
    end
    q.text = text
  end
  qrows[name] = q
  return q
end

local function qpacked(q)
  local text = pack(QUEUE_FORMAT, q.no, q.paused, q.sleepers, q[COUNT_BEHIND], q[COUNT_RUNNING],
    q[COUNT_COMPLETED], q[COUNT_DISCARDED], q[COUNT_CANCELLED])
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
    for i = COUNT_WAITING, COUNT_CANCELLED do q[i] = 0 end
    qnew[#qnew + 1] = q
    if not form2 then -- numbers are never used again in form 1
      q.no = (tonumber(call('HGET', meta, 'Q')) or 0) + #qnew
    end
  end
  return q
end

-- pauseends is when the pause of a queue ends: 0 = it is not paused, NEVER =
-- when it is resumed. The row of a queue says 0 = not paused, 1 = until it is
-- resumed, 2 = until the instant that meta has.
local function pauseends(q)
  if not q.no or q.paused == 0 then return 0 end
  if q.paused == 1 then return NEVER end
  local ends = unpk('>I6', call('HGET', meta, 'u' .. q.name) or now6)
  return ends > now and ends or 0
end

-- without returns a list of packed names without one of them, and whether
-- it was there.
local function without(list, one)
  local at = 1
  while at <= #list do
    local n = 1 + byte(list, at)
    if sub(list, at, at + n - 1) == one then return sub(list, 1, at - 1) .. sub(list, at + n), true end
    at = at + n
  end
  return list, false
end

local KINDS = 2000 -- bytes of the kinds waited for in a queue; beyond it, any kind

-- await notes that somebody waits for jobs of a queue: of these kinds
-- (packed), or of any kind.
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

-- wake notes that a job became due in a queue; kind is that of the job, nil
-- = any. tellstop notes that a run of a worker was asked to stop. wake.go
-- describes the messages.
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

-- disturb removes those who wait for a kind from the row of a queue, and
-- reports whether there were any.
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

-- qsave writes the rows of queues that changed, and publishes for those who
-- wait. These are the last writes of a script.
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

