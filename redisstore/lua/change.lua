-- change.lua is an operator's step.
--
--   ARGV  4 op: cancel, retry, run, delete, start, move, pause, resume or release
--         5 '1' = without the key
--         6 queue
--         7 key
--         8 states: one byte for each state to change, as stored, and 6 = available; '' = any
--         9 the worker of a start; the holder of a key to release, '' = any
--        10 the number of the fetch of a start; the delay of a move, or the length
--           of a pause (0 = until it is resumed), in milliseconds
--        11 the instant of a move, in place of the delay; '' = none
--        12 '1' = with args: the change names one job; of many they may be too much to read
--        13 IDs: how many follow
--   reply after the three
--         for a queue: nothing
--         for a key:   {code, job}
--         for each ID: {code, job, key row, holder}
--         codes: 0 = done, 1 = not found, 2 = refused,
--                3 = refused because it stands behind another, 4 = the key is held,
--                5 = the worker is not known, 6 = the queue is paused
--
-- A queue and a key are done first. For jobs, ops has a function for each
-- op, which returns a code.
local op, withoutkey, queue, key, states, who = ARGV[4], ARGV[5] == '1', ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local no, at, args, n = tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12] == '1', tonumber(ARGV[13])
local got, unknown = start({})
if not got then return unknown end
local DONE, MISSING, REFUSED, BEHIND, HELD, UNKNOWN, PAUSED = 0, 1, 2, 3, 4, 5, 6
local reply = {ARGV[1], stamp, wokenlist}

if op == 'pause' or op == 'resume' then
  local q = qrow(queue)
  if q.paused == 2 then
    begin()
    call('HDEL', meta, 'u' .. queue)
  end
  if op == 'pause' then
    q = qmade(queue)
    q.paused = 1
    if no > 0 then
      q.paused = 2
      metaset[#metaset + 1], metaset[#metaset + 2] = 'u' .. queue, pack('>I6', now + no)
    end
  elseif q.no then
    q.paused = 0
    wake(queue)
  end
  qsave()
  return reply
end

local m = model()
local function triple(j) return {m.triple(j, args)} end

if op == 'release' then
  m.loadkeys({key})
  local k = m.keyrow(key)
  if not m.held(k) or who ~= '' and m.kview(k).holder ~= who then
    reply[4] = {MISSING, false}
    return reply
  end
  m.settle(k)
  local j = not k.gone and m.job(k.holder)
  if j and j.behind ~= '' then
    reply[4] = {BEHIND, {j.id, m.triple(j)}}
  else
    reply[4] = {DONE, false}
    if j then
      m.dirty(j)
      j.keyless = true
    end
    m.release(k)
  end
  m.flush()
  qsave()
  return reply
end

local function shown(j)
  if due(j) then return 6 end
  return j.state
end

local function runnow(j)
  if j.state > STATE_RETRYABLE then return REFUSED end
  if j.behind ~= '' then return BEHIND end
  if j.runat > now then m.moverun(j, now) end
  return DONE
end

local ops = {run = runnow}

function ops.cancel(j)
  if j.state == STATE_RUNNING then
    m.dirty(j)
    j.cancel = true
    tellstop(j.worker)
  elseif j.state == STATE_CANCELLED then
    return DONE
  elseif j.state > STATE_RUNNING then
    return REFUSED
  else
    m.dirty(j)
    m.finish(j, STATE_CANCELLED)
    m.ended(j, false)
    if keeps(j.prof, STATE_CANCELLED) == 0 then m.remove(j, true) end
  end
  return DONE
end

function ops.retry(j)
  if j.state == STATE_RETRYABLE then return runnow(j) end
  if j.state <= STATE_RUNNING then return REFUSED end
  m.dirty(j)
  if j.key then
    local k = m.keyrow(j.key)
    local held = m.held(k)
    local own = held and k.holder == j.id and not k.gone and k.next == ''
    if held and not own and not withoutkey then
      local shownkey, holder = m.kview(k)
      return HELD, m.krow(shownkey), holder and triple(holder) or false
    elseif held and not own then
      j.keyless = true
    else
      local since = own and k.since or now
      j.keyless, j.anchor, j.runat = false, now, now
      m.take(j)
      m.keyof[j.key].since = since
    end
  end
  j.state, j.runat, j.max = STATE_SCHEDULED, now, max(j.max, j.attempt + 1)
  j.finished, j.worker, j.superseded, j.cancel, j.again = 0, '', '', false, true
  wake(j.prof.queue, j.prof.kind)
  return DONE
end

function ops.delete(j)
  if j.state == STATE_RUNNING then return REFUSED end
  local before = triple(j)
  m.dirty(j)
  m.ended(j, true)
  m.remove(j, false)
  return DONE, before
end

function ops.start(j)
  if call('HEXISTS', meta, 'k' .. who) == 0 then return UNKNOWN end
  if j.state == STATE_RUNNING and j.worker == who and j.fetch == no then return DONE end -- a repeat
  if j.state > STATE_RETRYABLE then return REFUSED end
  if j.behind ~= '' then return BEHIND end
  if pauseends(qrow(j.prof.queue)) > 0 then return PAUSED end
  if j.runat > now then m.setrun(j, now) end
  m.startrun(j, who, no)
  return DONE
end

function ops.move(j)
  if j.state > STATE_RETRYABLE then return REFUSED end
  if j.behind ~= '' then return BEHIND end
  m.moverun(j, at and max(now, at) or now + no)
  return DONE
end

local ids = {}
for i = 1, n do ids[i] = ARGV[13 + i] end
m.loadwith(ids)
m.bodies(m.all(), args)
for i, id in ipairs(ids) do
  local j = m.job(id)
  if not j or states ~= '' and not states:find(char(shown(j)), 1, true) then
    reply[3 + i] = {MISSING, false, false, false}
  else
    local code, a, b = ops[op](j)
    if code == HELD then
      reply[3 + i] = {code, triple(j), a, b}
    else
      reply[3 + i] = {code, a or triple(j), false, false}
    end
  end
end
m.flush()
qsave()
return reply
