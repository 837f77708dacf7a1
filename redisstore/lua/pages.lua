-- pages.lua, after lib.lua, lists IDs in their order. (A member of ix for
-- each ID would take five times the memory.)
--
-- An ID that a client made (19 bytes, packed) is in a page of about PAGE of
-- them. The page is the field "\0\0\0"FIRST of jobs and has the member
-- "i"FIRST in ix. FIRST is not above any ID of the page, and not below any
-- of the page before.
--
-- The last page is open: it is the field "\0\0\0" and has 19 bytes that all
-- its IDs are above, and the IDs.
--
-- Any other ID has a member "j"ID of its own in ix.
--
--   packed(id)   whether it is an ID that a client made
--   below(a, b)  the order of packed IDs
--   idpages      adds and drops IDs: close makes a page, find finds the page of
--                an ID, rank its place in it, without takes it out
local BOOK = '\0\0\0'
local PAGE, SIZE, BOTTOM = 32, ID_SIZE, string.rep('\0', ID_SIZE)
local open -- the open page, as it was read

local function packed(id) return #id == SIZE and byte(id, ID_NUL) == 0 end

local function below(a, b)
  local a1, a2, a3, a4 = unpk(ID_FORMAT, a)
  local b1, b2, b3, b4 = unpk(ID_FORMAT, b)
  if a1 ~= b1 then return a1 < b1 end
  if a2 ~= b2 then return a2 < b2 end
  if a3 ~= b3 then return a3 < b3 end
  return a4 < b4
end

-- idpages adds and drops packed IDs. It puts what is to be written to ix
-- into add and rem, and what is to be written to jobs into set and del.
-- ascending says that the IDs to add are in order.
local function idpages(adds, drops, ascending, set, del, add, rem)
  if #adds + #drops == 0 then return end
  if not open then open = call('HGET', jobs, BOOK) or BOTTOM end
  local lower, ids, changed, fresh = sub(open, 1, SIZE), sub(open, SIZE + 1), {}, {}

  -- close makes a page that find knows, although it is not written yet.
  local function close(s)
    local first = sub(s, 1, SIZE)
    changed[first] = s
    fresh[#fresh + 1] = first
    add[#add + 1] = '0'
    add[#add + 1] = 'i' .. first
  end

  -- find is the closed page to which an ID belongs.
  local function find(id)
    local member = call('ZREVRANGEBYLEX', ix, '[i' .. id, '[i', 'LIMIT', 0, 1)[1]
    local first = member and sub(member, 2)
    for _, f in ipairs(fresh) do
      if not below(id, f) and (not first or below(first, f)) then first = f end
    end
    if first then changed[first] = changed[first] or call('HGET', jobs, BOOK .. first) or '' end
    return first
  end

  local function without(s, id)
    local at = s:find(id, 1, true)
    while at and at % SIZE ~= 1 do at = s:find(id, at + 1, true) end
    return at and sub(s, 1, at - 1) .. sub(s, at + SIZE)
  end

  -- rank is the number of IDs of a page that are below the given one.
  local function rank(s, id)
    local lo, hi = 0, #s / SIZE
    while lo < hi do
      local mid = floor((lo + hi) / 2)
      if below(sub(s, mid * SIZE + 1, mid * SIZE + SIZE), id) then lo = mid + 1 else hi = mid end
    end
    return lo
  end

  local last
  for _, id in ipairs(drops) do
    if below(lower, id) then
      ids = without(ids, id) or ids
    else
      local left = last and without(changed[last], id)
      if not left then
        last = find(id)
        left = last and without(changed[last], id)
      end
      if left then changed[last] = left end
    end
  end

  -- Often all IDs to add belong in one place: after the rest, or between
  -- two that were added before.
  local n = #adds
  local i = 1
  while i <= n do
    local id = adds[i]
    local last = ascending and adds[n] or id
    local inopen = below(lower, id)
    local first = not inopen and find(id)
    local s = inopen and ids or first and changed[first] or ''
    local at = rank(s, id)
    local run = id
    if last ~= id and (inopen or first and at < #s / SIZE) and at == rank(s, last) then
      run = table.concat(adds, '', i, n)
      i = n
    end
    i = i + 1
    s = sub(s, 1, at * SIZE) .. run .. sub(s, at * SIZE + 1)
    if inopen then
      while #s >= PAGE * SIZE do -- the page is full: begin another
        local full = sub(s, 1, PAGE * SIZE)
        close(full)
        lower, s = sub(full, -SIZE), sub(s, PAGE * SIZE + 1)
      end
      ids = s
    elseif first then
      while #s > 2 * PAGE * SIZE do
        close(sub(s, -PAGE * SIZE))
        s = sub(s, 1, -PAGE * SIZE - 1)
      end
      changed[first] = s
    else
      close(s)
    end
  end
  for first, s in pairs(changed) do
    if s == '' then
      del[#del + 1] = BOOK .. first
      rem[#rem + 1] = 'i' .. first
    else
      set[#set + 1] = BOOK .. first
      set[#set + 1] = s
    end
  end
  open = lower .. ids
  set[#set + 1] = BOOK
  set[#set + 1] = open
end

