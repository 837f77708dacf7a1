-- Finish and Extend.
--
--   finish_v2       ends runs
--   finish_odd_v1   ends those that are not simply completed
--   finish_keys_v1  sees to keys that stay or pass to a waiter
--   forget_v1       deletes jobs that are not kept
--   errors_v1       adds an error to those of a job
--   extend_v2       a worker's heartbeat, and its leave
--
-- A job that is looked up by its ID has the condition state "between
-- {running} and {running}". With "=" the index of running jobs would fit
-- too, and the planner believes that it is small.

-- Adds an error to the last five. It is written as the inside of a JSON
-- object and never decoded, so it may contain any character.
create or replace function {ns}.errors_v1(old json, attempt integer, run bigint, now bigint, failure text) returns json
  language sql immutable as $$
  select ('[' || coalesce((
      select string_agg(x.value::text, ',' order by x.n) || ','
      from (select value, n from json_array_elements(old) with ordinality as y(value, n) order by n desc limit 4) x),
        '')
    || '{"attempt":' || attempt || ',"run":' || run || ',"at":' || now || ',' || failure || '}]')::json
$$;

-- Ends runs for a worker. The runs of ids are completed; for the odd ones,
-- states and the like say what becomes of them. It returns (id, status,
-- state, wake) for each that was not simply completed. The statuses are those
-- of FinishStatus, and finish_wake: wake is a queue to wake. A job is busy if
-- a transaction has locked it. No job occurs twice in a call. With patience
-- it waits that long for locked jobs; without it, it passes them over.
create or replace function {ns}.finish_v2(patience integer, worker text, rescue boolean, ids text[], runs bigint[],
  odd_ids text[], odd_runs bigint[], states smallint[], delays bigint[], gives_back boolean[], failures text[],
  results bytea[])
returns table (id text, status integer, state smallint, wake text) language plpgsql {hot} as $$
#variable_conflict use_column
declare
  now bigint;
  done text[];
  odd text[];
  keyed integer;   -- jobs that ended and have a key
  freed integer;   -- keys that are free by that
  fleeting text[]; -- jobs that are not kept
  e record;
begin
  {guard}
  if patience is not null then -- one job at a time, so it holds nothing while it waits
    perform set_config('lock_timeout', patience::text, true);
    perform from {ns}.jobs y where y.id = any(ids || odd_ids) and y.state between {running} and {running}
      order by y.id for update;
  end if;
  now := {ns}.clock_v1();
  -- A waiter that comes to stand behind one of these jobs while this
  -- statement waits is not in its snapshot: a later statement sees to its
  -- key.
  with u as (
    update {ns}.jobs y set state = {completed}, worker = nullif(finish_v2.worker, ''), cancel_requested = false,
      finished_at = now,
      anchor = case when y.key is not null then least(y.anchor, now) else y.anchor end
    where y.ctid = any(array(
      select z.tid from unnest(ids, runs) as x(id, run)
      cross join lateral (select z.ctid as tid from {ns}.jobs z
        where z.id = x.id and z.state between {running} and {running} and z.run = x.run
        and (rescue or z.worker = finish_v2.worker)
        for update skip locked) z))
    returning y.id, y.key, y.retention, y.hold_window
  ), freed as (
    delete from {ns}.keys k using u
    where u.hold_window is null and k.pending in ({until_due}, {until_started}, {until_finished}, {until_succeeded})
      and k.key = u.key and k.holder = u.id and k.gone is null and k.next is null
        and (k.frees_at is null or k.frees_at > now)
    returning 1
  )
  select coalesce(array_agg(u.id), '{}'), count(u.key), (select count(*) from freed),
    array_agg(u.id) filter (where u.retention = 0)
    into done, keyed, freed, fleeting from u;

  if odd_ids <> '{}' then
    e := {ns}.finish_odd_v1(worker, rescue, odd_ids, odd_runs, states, delays, gives_back, failures, results, now);
    odd := e.ended;
    done := done || odd;
    keyed := keyed + e.keyed;
    fleeting := fleeting || e.fleeting;
    return query select y.id, {finish_done}, y.state,
        case when y.state < {completed} and y.run_at <= now then y.queue end
      from unnest(odd) as q(id) cross join lateral (select * from {ns}.jobs y where y.id = q.id limit 1) y;
  end if;
  if freed < keyed then
    return query select * from {ns}.finish_keys_v1(done, now);
  end if;
  if fleeting is not null then
    perform {ns}.forget_v1(fleeting, now);
  end if;
  if cardinality(done) < cardinality(ids || odd_ids) then
    return query
    select x.id, case
        when y.id is null then {finish_gone}
        when y.run = x.run and y.state <> {running} and y.worker = finish_v2.worker then {finish_done}
        when y.run = x.run and y.state = {running} and (rescue or y.worker = finish_v2.worker) then {finish_busy}
        else {finish_lost} end, y.state, null::text
    from unnest(ids || odd_ids, runs || odd_runs) as x(id, run)
    left join lateral (select * from {ns}.jobs y where y.id = x.id limit 1) y on true
    where x.id not in (select unnest(done));
  end if;
end $$;

-- Ends the odd runs of finish_v2. It returns which jobs it has written, how
-- many of these have finished and have a key, and which are not kept.
create or replace function {ns}.finish_odd_v1(worker text, rescue boolean, ids text[], runs bigint[],
  states smallint[], delays bigint[], gives_back boolean[], failures text[], results bytea[], now bigint,
  out ended text[], out keyed integer, out fleeting text[]) language plpgsql as $$
begin
  with l as materialized (
    select x.i, y.tid, case when y.cancel_requested and states[x.i] <> {completed} then {cancelled}::smallint
      else states[x.i] end as final
    from unnest(ids, runs) with ordinality as x(id, run, i)
    cross join lateral (select y.ctid as tid, y.cancel_requested from {ns}.jobs y
      where y.id = x.id and y.state between {running} and {running} and y.run = x.run
      and (rescue or y.worker = finish_odd_v1.worker)
      for update skip locked) y
  ), u as (
    update {ns}.jobs y set
      state = l.final, worker = nullif(finish_odd_v1.worker, ''), cancel_requested = false,
      attempt = y.attempt - gives_back[l.i]::integer,
      errors = case when coalesce(failures[l.i], '') = '' then y.errors
        else {ns}.errors_v1(y.errors, y.attempt, y.run, now, failures[l.i]) end,
      run_at = case when l.final < {completed} then now + delays[l.i] else y.run_at end,
      finished_at = case when l.final < {completed} then y.finished_at else now end,
      anchor = case when l.final >= {completed} and y.key is not null then least(y.anchor, now) else y.anchor end,
      result = case when l.final >= {completed} then results[l.i] end
    from l where y.ctid = l.tid
    returning y.id, y.key, y.state, y.retention, y.retention_failed
  )
  select coalesce(array_agg(u.id), '{}'), count(u.key) filter (where u.state >= {completed}),
      array_agg(u.id) filter (where u.state >= {completed} and {kept u} = 0)
    into ended, keyed, fleeting from u;
end $$;

-- Does to the keys of jobs what the end of these does, where it is more than
-- to free one that waited for it: a key may stay, or pass to a waiter, of
-- whose queue it tells.
create or replace function {ns}.finish_keys_v1(done text[], now bigint)
returns table (id text, status integer, state smallint, wake text) language plpgsql as $$
#variable_conflict use_column
declare
  x text;
  j {ns}.jobs;
  e record;
begin
  with h as (
    select k.tid, k.pending as was, k.frees_at as freed, p.pending, -- an anchor in the future becomes now
      case when p.pending <> k.pending or y.anchor = now and k.pending = {until_came}
        then {ns}.rest_v1(y.hold_window, y.hold_ttl, y.anchor)
        when y.anchor = now then {ns}.frees_v1(y.hold_until, y.hold_window, y.hold_ttl, y.anchor, y.run_at)
          else k.frees_at end as frees_at
    from unnest(done) as q(id)
    cross join lateral (select * from {ns}.jobs y where y.id = q.id and y.state >= {completed} limit 1) y
    cross join lateral (select k.ctid as tid, k.pending, k.frees_at from {ns}.keys k
      where k.key = y.key and k.holder = y.id and k.gone is null and k.next is null
        and (k.frees_at is null or k.frees_at > now) limit 1) k
    cross join lateral (select case when k.pending <> {until_came} and {ns}.ends_on_v1(k.pending, y.state)
      then {until_came}::smallint else k.pending end as pending) p
  ), f as (
    delete from {ns}.keys k using h where k.ctid = h.tid and h.frees_at <= now and k.next is null
  )
  update {ns}.keys k set pending = h.pending, frees_at = h.frees_at from h
  where k.ctid = h.tid and (h.frees_at is null or h.frees_at > now) and k.next is null
    and (h.pending <> h.was or h.frees_at is distinct from h.freed);
  for x in
    select q.id from unnest(done) as q(id)
    cross join lateral (select y.key from {ns}.jobs y where y.id = q.id and y.state >= {completed} limit 1) y
    cross join lateral (select k.holder, k.next, k.frees_at, k.gone from {ns}.keys k where k.key = y.key limit 1) k
    where k.holder = q.id and k.gone is null and (k.next is not null or k.frees_at <= now)
      or k.holder <> q.id and exists (select from {ns}.jobs w where w.id = k.holder and w.behind = q.id)
  loop
    select {slim y} into j from {ns}.jobs y where y.id = x;
    select * into e from {ns}.ended_v1(j, false, now);
    if (e.j).keyless then
      update {ns}.jobs y set keyless = true where y.id = x and not y.keyless;
    end if;
    if e.wake is not null then
      return query select x, {finish_wake}, j.state, e.wake;
    end if;
  end loop;
end $$;

-- Deletes finished jobs that are not kept. A key that one still holds keeps
-- what is known of it.
create or replace function {ns}.forget_v1(fleeting text[], now bigint) returns void language plpgsql as $$
declare
  x text;
  j {ns}.jobs;
begin
  for x in
    select q.id from unnest(fleeting) as q(id)
    cross join lateral (select y.key from {ns}.jobs y where y.id = q.id limit 1) y
    cross join lateral (select from {ns}.keys k where k.key = y.key and k.holder = q.id and k.gone is null limit 1) k
  loop
    select {slim y} into j from {ns}.jobs y where y.id = x;
    perform {ns}.remove_v1(j, true, now);
  end loop;
  delete from {ns}.jobs y where y.id = any(fleeting) and y.state >= {completed};
end $$;

-- A worker's heartbeat. It returns (what, i, wake), where what is a run that
-- is lost or is to stop, a job that was handed back, or a queue to wake: see
-- extendLost and the like. A lease of 0 means that the worker leaves.
create or replace function {ns}.extend_v2(worker text, lease bigint, ids text[], runs bigint[], fetches_done bigint,
  about bytea)
returns table (what integer, i integer, wake text) language plpgsql {hot} as $$
#variable_conflict use_column
declare
  now bigint := {ns}.clock_v1();
  back text[];
  back_runs bigint[];
begin
  {guard}
  if lease = 0 then
    -- A fetch that is starting jobs is waited for, so that they are seen below: see fetch_v2.
    perform pg_advisory_xact_lock({ns}.worker_lock_v2(worker));
  end if;
  return query
  select case when y.id is null then {extend_lost} else {extend_stop} end, x.i, null::text
  from generate_series(1, cardinality(ids)) as x(i)
  left join lateral (select y.id, y.cancel_requested from {ns}.jobs y
    where y.id = ids[x.i] and y.state between {running} and {running} and y.run = runs[x.i]
      and y.worker = extend_v2.worker
      limit 1) y on true
  where y.id is null or y.cancel_requested
  order by x.i;
  select array_agg(y.id order by y.id), array_agg(y.run order by y.id) into back, back_runs
  from {ns}.jobs y
  where y.state = {running} and y.worker = extend_v2.worker and y.fetch_no <= case when lease = 0 then {never}
      else fetches_done end
    and (lease = 0 or (y.id, y.run) not in (select * from unnest(ids, runs)));
  if back is not null then
    return query
    select case f.status when {finish_done} then {extend_back} else {extend_wake} end, 0, f.wake
      from {ns}.finish_v2(null, '', true, '{}', '{}', back, back_runs,
      array_fill({scheduled}::smallint, array[cardinality(back)]), array_fill(0::bigint, array[cardinality(back)]),
        array_fill(true, array[cardinality(back)]), null, null) f
    where f.status in ({finish_done}, {finish_wake});
  end if;
  if lease = 0 then
    delete from {ns}.workers w where w.name = extend_v2.worker;
  else
    insert into {ns}.workers as w (name, lease_ends, beat, since, beat_at, about)
      values (extend_v2.worker, now + lease, 1, now, now, extend_v2.about)
      on conflict (name) do update set lease_ends = excluded.lease_ends, beat = w.beat + 1, beat_at = excluded.beat_at,
        about = coalesce(excluded.about, w.about);
  end if;
end $$;
