-- Fetch.
--
--   fetch_v3         starts due jobs of some queues for a worker
--   beside_v3        locks the next due jobs of some kinds, where jobs of others are among them
--   within_v3        which of the jobs found fit into so many bytes
--   of_kinds_v2      is beside_v3 for one priority of one queue
--   of_instant_v2    the same among jobs that are all due at one instant
--   next_v2          when the next job of some queues is due, beside jobs of other kinds
--   next_of_kinds_v2 when the next job of some kinds is due, beside others
--   started_v2       what the first fetch of a job does to its key
--   worker_lock_v2   by which a fetch and a leave of its worker take turns
--
-- Waiting jobs are in two indexes: jobs_waiting has the jobs of a queue in
-- their order, and jobs_kinds keeps their kinds apart. In both, priority
-- and run time are one number, which {at j} and {kinds_at j} spell as the
-- one and the other have it. So the planner finds the index that is meant,
-- whatever it knows of the tables.

-- Starts due jobs of the queues for a worker. It probes each priority by
-- itself, so it never reads jobs that are scheduled for later. It passes
-- over jobs that others have locked. A row without a job is a message: n is
-- the run time of the next waiting job, or the end of a pause; null if there is
-- none; or that the worker is not known. If all that was asked for has started, there is
-- no message: there may be more.
--
-- floors has ten run times for each queue, one after the other: {floor_of p}
-- is that of a priority. The fetch begins there, and not at jobs that were
-- fetched long ago, whose index entries an old snapshot may keep alive.
--
-- If only some kinds are wanted, it looks at the first jobs of each priority.
-- If they are all of these kinds, it takes them in the order of the queue;
-- else beside_v3 goes by the index that keeps kinds apart. So jobs of other
-- kinds cost next to nothing, however many wait. Only where the first are of
-- these kinds and many others come before all slots are full, it walks past
-- those, once.
--
-- It stops before the args and metas would exceed max_bytes together, but
-- starts at least one job.
--
-- Each query costs about as much as ten jobs do. So there are three where
-- nothing is out of the ordinary.
create or replace function {ns}.fetch_v3(worker text, fetch_no bigint, queues text[], slots integer[], kinds text[],
  floors bigint[], max_bytes bigint)
returns setof {ns}.fetched_v1 language plpgsql {hot} as $$
declare
  near constant integer := 16;
  now bigint;
  x record;               -- what was found: tids (where the jobs are, in order), bytes, and
                          -- frees: for one of them the first fetch is the event
  said {ns}.fetched_v1;   -- a message
  wanted integer := 0;
  one integer;
  waited text;
  started integer;
begin
  {guard}
  -- A leave waits for this and sees what is started; or this waits for
  -- the leave, and starts nothing.
  waited := pg_advisory_xact_lock_shared({ns}.worker_lock_v2(worker));
  now := {ns}.clock_v1();
  said.now := now;
  select array_agg(y.tid) as tids, sum(y.bytes) as bytes, bool_or(y.frees) as frees, bool_or(y.others) as mixed into x
  from unnest(queues, slots) with ordinality as q(queue, slots, n)
  cross join lateral (
    select m.others, j.* from {priorities} as p(priority)
    cross join lateral (
      select coalesce(bool_or(o.kind <> all(kinds)), false) as others from (
        select o.kind from {ns}.jobs o
        where o.queue = q.queue and {waits o} and {at o} >= (p.priority << 48) + {floor_of p}
          and {at o} <= (p.priority << 48) + now
        order by {at o}, o.id limit case when kinds is null then 1 else least(q.slots, near) + near end) o
      having count(*) > 0) m
    left join lateral (
      select j.ctid as tid, {bytes j} as bytes, j.hold_until = {until_started} as frees from {ns}.jobs j
      where not m.others and j.queue = q.queue and {waits j} and (kinds is null or j.kind = any(kinds))
        and {at j} >= (p.priority << 48) + {floor_of p} and {at j} <= (p.priority << 48) + now
      order by {at j}, j.id limit q.slots for update skip locked) j on true
    where m.others or j.tid is not null
    limit q.slots) y
  where q.slots > 0 and not exists (select from {ns}.paused z where z.queue = q.queue and z.until > now);
  if x.mixed then
    x := {ns}.beside_v3(queues, slots, kinds, floors, now);
  end if;
  if x.bytes > max_bytes then
    x.tids := {ns}.within_v3(x.tids, max_bytes);
  end if;
  started := 0;
  if x.tids is not null then
    return query
    update {ns}.jobs j set state = {running}, attempt = coalesce(j.attempt, 0) + 1, run = coalesce(j.run, 0) + 1,
      anchor = {ns}.anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at), started_at = now,
      worker = fetch_v3.worker, fetch_no = fetch_v3.fetch_no
    where j.ctid = any(x.tids) and exists (select from {ns}.workers w where w.name = fetch_v3.worker)
    returning now, null::bigint, {read j};
    get diagnostics started = row_count;
  end if;
  if x.frees then
    perform {ns}.started_v2(worker, fetch_no, now);
  end if;
  foreach one in array slots loop
    wanted := wanted + greatest(one, 0);
  end loop;
  if started = 0 and not exists (select from {ns}.workers w where w.name = worker) then
    said.n := {fetch_no_worker};
    return next said;
  elsif started < wanted or started = 0 then
    select least(min(i.run_at), (select min(z.until) from {ns}.paused z
        where z.queue = any(queues) and z.until > now and z.until < {never})) as at,
      bool_or(i.kind <> all(kinds)) as mixed into x
    from unnest(queues) with ordinality as q(queue, n) cross join {priorities} as p(priority)
    cross join lateral (
      select i.run_at, i.kind from {ns}.jobs i
      where i.queue = q.queue and {waits i} and {at i} >= (p.priority << 48) + {floor_of p}
        and {at i} < (p.priority + 1) << 48
      order by {at i}, i.id limit 1) i
    where not exists (select from {ns}.paused z where z.queue = q.queue and z.until > now);
    said.n := case when x.mixed then {ns}.next_v2(queues, kinds, floors) else x.at end;
    return next said;
  end if;
end $$;

-- Locks the next due jobs of some kinds, of each queue in its order, where
-- jobs of other kinds are among them.
create or replace function {ns}.beside_v3(queues text[], slots integer[], kinds text[], floors bigint[], now bigint,
  out tids tid[], out bytes bigint, out frees boolean, out mixed boolean) language plpgsql as $$
#variable_conflict use_column
declare
  place record;           -- a priority of a queue in which jobs are due
  x record;
  in_queue bigint := 0;
  wanted integer;         -- of that queue, what has not been found yet
begin
  for place in
    select q.n, q.queue, q.slots, p.priority, {floor_of p} as floor
    from unnest(queues, slots) with ordinality as q(queue, slots, n) cross join {priorities} as p(priority)
    cross join lateral (
      select from {ns}.jobs i
      where i.queue = q.queue and {waits i} and {at i} >= (p.priority << 48) + {floor_of p}
        and {at i} <= (p.priority << 48) + now
      order by {at i}, i.id limit 1) i
    where q.slots > 0 and not exists (select from {ns}.paused z where z.queue = q.queue and z.until > now)
    order by q.n, p.priority
  loop
    if place.n <> in_queue then
      in_queue := place.n;
      wanted := place.slots;
    end if;
    continue when wanted <= 0;
    select array_agg(y.tid) as tids, sum(y.bytes) as bytes, bool_or(y.frees) as frees into x
      from {ns}.of_kinds_v2(place.queue, place.priority, kinds, place.floor, now, wanted) y;
    if x.tids is not null then
      tids := tids || x.tids;
      bytes := coalesce(bytes, 0) + x.bytes;
      frees := coalesce(frees, false) or coalesce(x.frees, false);
      wanted := wanted - cardinality(x.tids);
    end if;
  end loop;
end $$;

-- Those of the jobs found, in order, that fit into max_bytes; at least one.
create or replace function {ns}.within_v3(tids tid[], max_bytes bigint) returns tid[]
  language plpgsql as $$
begin
  return (
    select array_agg(y.tid order by y.n) from (
      select t.tid, t.n, sum({bytes j}) over (order by t.n) as bytes
      from unnest(tids) with ordinality as t(tid, n)
      cross join lateral (select * from {ns}.jobs j where j.ctid = t.tid limit 1) j) y
    where y.bytes <= max_bytes or y.n = 1);
end $$;

-- Locks the next due jobs of some kinds, of one queue and priority, from a
-- run time (floor) on. jobs_kinds has them by their run time alone: so where
-- not all of one millisecond are wanted, of_instant_v2 finds the first.
--
-- Each query orders by {kinds_at j}, though the result is sorted again: only
-- jobs_kinds has that order. Without it a planner that knows nothing of the
-- table yet may read the whole of jobs_waiting.
create or replace function {ns}.of_kinds_v2(of_queue text, priority bigint, kinds text[], floor bigint, now bigint,
  most integer)
returns table (tid tid, bytes integer, frees boolean) language plpgsql as $$
#variable_conflict use_variable
declare
  base bigint := priority << 48;
  done bigint := base + floor - 1; -- nothing up to here is left
  wanted integer := most;
  ats bigint[];                    -- where the next jobs are, one more than wanted
  edge bigint;                     -- the last place of these that is wanted
  tied boolean;                    -- more jobs than wanted are there
  got integer;
begin
  loop
    ats := array(
      select k.at from unnest(kinds) as asked(kind)
      cross join lateral (select {kinds_at j} as at from {ns}.jobs j
        where {of_kind j} and {kinds_at j} > done and {kinds_at j} < base + (1::bigint << 48)
        order by {kinds_at j} limit wanted + 1) k
      order by k.at limit wanted + 1);
    exit when ats[1] is null or ats[1] > base + now;
    edge := least(ats[least(wanted, cardinality(ats))], base + now);
    tied := coalesce(ats[wanted + 1] = edge, false);
    return query select k.tid, k.bytes, k.frees from unnest(kinds) as asked(kind)
      cross join lateral (
        select j.ctid as tid, {bytes j} as bytes, j.hold_until = {until_started} as frees, j.run_at, j.id
        from {ns}.jobs j
        where {of_kind j} and {kinds_at j} > done and {kinds_at j} <= edge - tied::integer
        order by {kinds_at j} for update skip locked) k
      order by k.run_at, k.id limit wanted;
    get diagnostics got = row_count;
    wanted := wanted - got;
    if tied and wanted > 0 then
      return query select * from {ns}.of_instant_v2(of_queue, edge, kinds, wanted);
      get diagnostics got = row_count;
      wanted := wanted - got;
    end if;
    done := edge;
    exit when wanted = 0 or edge = base + now;
  end loop;
end $$;

-- Locks the first jobs of some kinds that have one place in the order of a
-- queue. Mostly many jobs there are of these kinds, and are found by going
-- from one to the next. Else all those of these kinds are read and sorted.
create or replace function {ns}.of_instant_v2(of_queue text, place bigint, kinds text[], most integer)
returns table (tid tid, bytes integer, frees boolean) language plpgsql as $$
#variable_conflict use_column
declare
  found_already tid[];
begin
  found_already := array(
    select j.ctid from (
      select i.ctid as tid, i.kind from {ns}.jobs i
      where i.queue = of_queue and {waits i} and {at i} = place
      order by {at i}, i.id limit 10 * most + 100) i
    join {ns}.jobs j on j.ctid = i.tid and {waits j}
    where i.kind = any(kinds) limit most for update of j skip locked);
  return query select j.ctid, {bytes j}, j.hold_until = {until_started} from {ns}.jobs j
    where j.ctid = any(found_already);
  if cardinality(found_already) < most then
    return query select k.tid, k.bytes, k.frees from unnest(kinds) as asked(kind)
      cross join lateral (
        select j.ctid as tid, {bytes j} as bytes, j.hold_until = {until_started} as frees, j.id from {ns}.jobs j
        where {of_kind j} and {kinds_at j} >= place and {kinds_at j} <= place and j.ctid <> all(found_already)
        order by {kinds_at j}, j.id limit most - cardinality(found_already) for update skip locked) k
      order by k.id limit most - cardinality(found_already);
  end if;
end $$;

-- The run time of the next waiting job, due or not, or the end of a pause;
-- null if there is none.
create or replace function {ns}.next_v2(queues text[], kinds text[], floors bigint[]) returns bigint
  language plpgsql as $$
declare
  near constant integer := 16;
  now bigint := {ns}.clock_v1();
begin
  return least((select min(z.until) from {ns}.paused z where z.queue = any(queues) and z.until > now
    and z.until < {never}), (
    select min(case when a.mine is null and a.n = near then {ns}.next_of_kinds_v2(q.queue, p.priority, kinds, f.floor)
      else a.mine end)
    from unnest(queues) with ordinality as q(queue, n) cross join {priorities} as p(priority)
    cross join lateral (select {floor_of p} as floor) f
    cross join lateral (
      select count(*) as n, min(i.run_at) filter (where kinds is null or i.kind = any(kinds)) as mine from (
        select i.run_at, i.kind from {ns}.jobs i
        where i.queue = q.queue and {waits i} and {at i} >= (p.priority << 48) + f.floor
          and {at i} < (p.priority + 1) << 48
        order by {at i}, i.id limit near) i) a
    where not exists (select from {ns}.paused z where z.queue = q.queue and z.until > now)));
end $$;

-- The same for some kinds, of one queue and priority, beside many others.
create or replace function {ns}.next_of_kinds_v2(of_queue text, priority bigint, kinds text[], floor bigint)
  returns bigint language plpgsql as $$
#variable_conflict use_variable
begin
  return (
    select min(k.run_at) from unnest(kinds) as asked(kind)
    cross join lateral (
      select j.run_at from {ns}.jobs j
      where {of_kind j} and {kinds_at j} >= (priority << 48) + floor and {kinds_at j} < (priority + 1) << 48
      order by {kinds_at j} limit 1) k);
end $$;

-- The first fetch of some jobs is the event that frees their key.
create or replace function {ns}.started_v2(of_worker text, of_fetch bigint, now bigint) returns void
  language plpgsql as $$
begin
  with free as (
    select k.ctid as tid, {ns}.rest_v1(j.hold_window, j.hold_ttl, j.anchor) as rest
    from {ns}.jobs j
    cross join lateral (select k.ctid from {ns}.keys k
      where k.key = j.key and k.holder = j.id and k.pending = {until_started} and k.gone is null
        and (k.frees_at is null or k.frees_at > now) limit 1) k
    where j.state = {running} and j.worker = of_worker and j.fetch_no = of_fetch and j.hold_until = {until_started}
  ), kept as (
    update {ns}.keys k set pending = {until_came}, frees_at = free.rest from free
      where k.ctid = free.tid and free.rest > now and k.pending = {until_started}
  )
  delete from {ns}.keys k using free where k.ctid = free.tid and free.rest <= now and k.pending = {until_started};
end $$;

-- Locks a worker, for one that starts jobs for it or for one that takes its leave.
create or replace function {ns}.worker_lock_v2(worker text) returns bigint language sql immutable parallel safe as $$
  select hashtextextended(worker, hashtextextended({ns literal}, 0))
$$;
