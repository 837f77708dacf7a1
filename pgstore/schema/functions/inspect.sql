-- What reads: Get, List, Keys, Queues and Workers. They are functions, as
-- everything is, because of their plans. All are stable, so that each reads one
-- snapshot. A volatile function takes a new one for each of its queries, and a
-- row that moved between two of them would be missing from its answer.
--
--   get_v1                   jobs by ID
--   list_v3, look_v1         a page of jobs, and where it looks for them
--   waiting_v1, running_v1   how many wait in a queue, and run for a worker
--   keys_v2                  a page of keys
--   queues_v3, queue_names_v1  counts of all queues, and their names
--   paused_v1                when the pause of a queue ends
--   workers_v1               the workers that are known

create or replace function {ns}.get_v1(ids text[]) returns setof {ns}.job_v1 language plpgsql stable {hot} as $$
declare
  now bigint := {ns}.clock_v1();
begin
  return query select now, 0::bigint, j from {ns}.jobs j where j.id = any(ids);
end $$;

-- How many jobs wait in a queue ('' = in all), or run for a worker; counted
-- up to most.
create or replace function {ns}.waiting_v1(of_queue text, most integer) returns bigint
  language plpgsql stable {hot} as $$
begin
  if of_queue = '' then
    return (select count(*) from (select from {ns}.jobs x where {waits x} limit most) y);
  end if;
  return (select count(*) from (select from {ns}.jobs x where x.queue = of_queue and {waits x}
    limit most) y);
end $$;

create or replace function {ns}.running_v1(of_worker text, most integer) returns bigint
  language plpgsql stable {hot} as $$
begin
  if of_worker = '' then
    return (select count(*) from (select from {ns}.jobs x where x.state = {running} limit most) y);
  end if;
  return (select count(*) from (select from {ns}.jobs x where x.worker = of_worker and x.state = {running}
    limit most) y);
end $$;

-- The jobs that are to be looked at for a list: no more than look of them,
-- from the largest ID below below_id down. indexes says where they are:
-- among those that wait, that stand behind another, that run, or that are
-- retryable, discarded or cancelled, a bit each; 0 = among all, and so is it
-- if more than few wait and run: in those two indexes they are in no order of
-- their IDs.
-- What each part is ordered by tells the planner which index is meant.
create or replace function {ns}.look_v1(below_id text, look integer, indexes integer, few integer, of_queue text,
  of_worker text)
returns text[] language plpgsql stable {hot} as $$
begin
  if below_id = '' then
    below_id := (select max(x.id) || 'x' from {ns}.jobs x);
  end if;
  if indexes = 0 or (case when indexes & {list_waiting} > 0 then {ns}.waiting_v1(of_queue, few + 1) else 0 end)
    + (case when indexes & {list_running} > 0 then {ns}.running_v1(of_worker, few + 1) else 0 end) > few then
    return array(select x.id from {ns}.jobs x where x.id < below_id order by x.id desc limit look);
  end if;
  return array(select y.id from (
    (select x.id from {ns}.jobs x where indexes & {list_waiting} > 0 and of_queue = '' and {waits x}
      order by x.queue, {at x}, x.id limit few + 1)
    union all
    (select x.id from {ns}.jobs x where indexes & {list_waiting} > 0 and of_queue <> '' and x.queue = of_queue
      and {waits x} order by {at x}, x.id limit few + 1)
    union all
    select x.id from {ns}.jobs x where indexes & {list_standing} > 0 and x.behind is not null
    union all
    select x.id from {ns}.jobs x where indexes & {list_running} > 0 and of_worker = '' and x.state = {running}
    union all
    select x.id from {ns}.jobs x where indexes & {list_running} > 0 and of_worker <> '' and x.worker = of_worker
      and x.state = {running}
    union all
    (select x.id from {ns}.jobs x where indexes & {list_other} > 0 and {other x} and x.id < below_id
      order by x.id desc limit look)) y
    where y.id < below_id group by y.id order by y.id desc limit look);
end $$;

-- The jobs that match among those that look_v1 finds, at most so many. shown
-- has a bit for each shown state that is wanted, of_key is null for any, and
-- '' stands for any name. max_bytes is null if no args are wanted; else it
-- stops before args and metas would exceed it, but if none were listed yet
-- (begin) it returns at least one. The last row is without a job: how many
-- jobs were looked at, up to which ID, how many bytes of args and metas are
-- in the answer, whether there may be more to look at, and whether one that
-- matches was left out for want of room.
create or replace function {ns}.list_v3(below_id text, look integer, indexes integer, few integer, shown integer,
  of_queue text, of_kind text, of_key bytea, of_tag text, of_worker text, enqueued_from bigint, enqueued_to bigint,
  most integer, max_bytes bigint, begins boolean)
returns table (now bigint, looked integer, last text, bytes bigint, more boolean, is_full boolean, job {ns}.jobs)
language plpgsql stable {hot} as $$
#variable_conflict use_column
declare
  t bigint := {ns}.clock_v1();
  ids text[] := {ns}.look_v1(below_id, look, indexes, few, of_queue, of_worker);
  matched text[]; -- of these, and one more than there is room for
  fit integer;    -- how many of them there is room for
  total bigint;
begin
  matched := array(
    select x.id
    from unnest(ids) with ordinality as r(id, place)
    cross join lateral (select * from {ns}.jobs x where x.id = r.id limit 1) x
    where shown >> {ns}.shown_v1(x.state, x.behind, x.run_at, t) & 1 = 1
      and (of_queue = '' or x.queue = of_queue) and (of_kind = '' or x.kind = of_kind)
      and (of_key is null or x.key = of_key) and (of_worker = '' or x.worker = of_worker)
      and x.enqueued_at >= enqueued_from and x.enqueued_at < enqueued_to
      and (of_tag = '' or exists (select from json_array_elements_text(x.tags) as g(tag) where g.tag = of_tag))
    limit most + 1);
  fit := least(most, cardinality(matched));
  if max_bytes is not null then
    select count(*), max(y.bytes) into fit, total from (
      select r.place, sum({bytes x}) over (order by r.place rows unbounded preceding) as bytes
      from unnest(matched[:fit]) with ordinality as r(id, place)
      cross join lateral (select * from {ns}.jobs x where x.id = r.id limit 1) x) y
    where y.bytes <= max_bytes or begins and y.place = 1;
    return query select t, 0, null::text, 0::bigint, false, false, j.job
      from unnest(matched[:fit]) with ordinality as r(id, place)
      cross join lateral (select x as job from {ns}.jobs x where x.id = r.id limit 1) j order by r.place;
  else
    return query select t, 0, null::text, 0::bigint, false, false, j.job
      from unnest(matched[:fit]) with ordinality as r(id, place)
      cross join lateral (select {bare x} as job from {ns}.jobs x where x.id = r.id limit 1) j order by r.place;
  end if;
  if fit < cardinality(matched) then
    look := array_position(ids, matched[fit + 1]) - 1;
    return query select t, look, ids[look], coalesce(total, 0), true, true, null::{ns}.jobs;
  else
    return query select t, cardinality(ids), ids[cardinality(ids)], coalesce(total, 0), cardinality(ids) = look, false,
      null::{ns}.jobs;
  end if;
end $$;

-- Keys in order, from first_key to last_key, each with its effective holder;
-- or the one that is named.
create or replace function {ns}.keys_v2(first_key bytea, last_key bytea, look integer, name bytea)
returns table (now bigint, key bytea, inert boolean, holder text, waiter text, since bigint, frees_at bigint,
  pending smallint, gone boolean, kind text, queue text, key_text text, state smallint, digest bytea)
  language plpgsql stable {hot} as $$
#variable_conflict use_column
declare
  t bigint := {ns}.clock_v1();
begin
  return query
  select t, l.key, l.over and l.next is null, case when l.settled then l.next else l.holder end,
    case when l.settled then null else l.next end,
    case when l.settled then l.frees_at else coalesce(l.since, h.enqueued_at) end,
      case when l.settled then null else l.frees_at end,
    {ns}.named_v1(case when l.settled then {ns}.pending_v1(h.hold_until) else l.pending end, h.behind, h.run, h.run_at,
      t),
    h.id is null, coalesce(h.kind, l.gone ->> 'kind'), coalesce(h.queue, l.gone ->> 'queue'),
      coalesce({ns}.text_v1(h.job), l.gone ->> 'text'),
    case when h.id is null then (l.gone ->> 'state')::smallint else {ns}.shown_v1(h.state, h.behind, h.run_at, t) end,
    case when h.id is null then decode(l.gone ->> 'digest', 'hex') else h.digest end
  from (
    select k.*, coalesce(k.frees_at <= t, false) as over,
      coalesce(k.frees_at <= t, false) and k.next is not null as settled
    from {ns}.keys k where (name is null or k.key = name) and k.key >= first_key and k.key <= last_key
      order by k.key limit look
  ) l
  left join lateral (select {bare x} as job, x.id, x.kind, x.queue, x.enqueued_at, x.hold_until, x.behind, x.run,
    x.run_at, x.state, x.digest from {ns}.jobs x
    where x.id = case when l.settled then l.next else l.holder end and x.key = l.key and (l.gone is null or l.settled)
      limit 1) h on true
  order by l.key;
end $$;

-- The names of queues that have a job or are paused. Each name is one look into
-- an index; only what runs, and what stands behind another, is read whole.
create or replace function {ns}.queue_names_v1() returns text[] language plpgsql stable {hot} as $$
declare
  names text[] := array(select p.queue from {ns}.paused p where p.until > {ns}.clock_v1());
  name text;
begin
  name := (select x.queue from {ns}.jobs x where {waits x} order by x.queue limit 1);
  while name is not null loop
    names := names || name;
    name := (select x.queue from {ns}.jobs x where {waits x} and x.queue > name
      order by x.queue limit 1);
  end loop;
  name := (select x.queue from {ns}.jobs x where {counted x} order by x.queue limit 1);
  while name is not null loop
    names := names || name;
    name := (select x.queue from {ns}.jobs x where {counted x} and x.queue > name
      order by x.queue limit 1);
  end loop;
  return array(select n.queue collate "C" from unnest(names
    || array(select distinct x.queue from {ns}.jobs x where x.state = {running})
    || array(select distinct x.queue from {ns}.jobs x where x.behind is not null)) as n(queue) group by 1 order by 1);
end $$;

-- When the pause of a queue ends; null = it is not paused.
create or replace function {ns}.paused_v1(of_queue text, now bigint) returns bigint language plpgsql stable as $$
begin
  return (select p.until from {ns}.paused p where p.queue = of_queue and p.until > now);
end $$;

-- Every queue that has a job or is paused, with a row for each shown state in
-- which it has a job: how many, counted up to most, and whether they may be
-- more. oldest is the run time of the job that has been due longest. The last
-- row is of no queue: it has the time. paused is when the pause ends, or
-- null.
create or replace function {ns}.queues_v3(most integer)
returns table (now bigint, queue text, paused bigint, shown smallint, n bigint, at_least boolean, oldest bigint)
language plpgsql stable {hot} as $$
#variable_conflict use_column
declare
  t bigint := {ns}.clock_v1();
  name text;
  paused_until bigint;
  due bigint;
  first bigint;    -- the earliest run time of what is due
  looked bigint;   -- how many that are due later were looked at
  later bigint;    -- how many of these are scheduled
  retried bigint;  -- how many are retryable and due later
  ended smallint;
begin
  foreach name in array {ns}.queue_names_v1() loop
    paused_until := {ns}.paused_v1(name, t);
    return query select t, name, paused_until, {scheduled}::smallint, 0::bigint, false, null::bigint;

    due := (select count(*) from (
      select from {priorities} as p
      cross join lateral (select from {ns}.jobs x where x.queue = name and {waits x}
        and {at x} >= p << 48 and {at x} <= (p << 48) + t limit most + 1) y limit most + 1) z);
    first := (select min(y.run_at) from {priorities} as p
      cross join lateral (select x.run_at from {ns}.jobs x where x.queue = name and {waits x}
        and {at x} >= p << 48 and {at x} <= (p << 48) + t
        order by {at x}, x.id limit 1) y);
    return query select t, name, paused_until, {available}::smallint, least(due, most), due > most, first where due > 0;

    retried := (select count(*) from (select from {ns}.jobs x where x.queue = name and x.state = {retryable}
      and x.run_at > t limit most + 1) y);
    return query select t, name, paused_until, {retryable}::smallint, least(retried, most), retried > most,
      null::bigint where retried > 0;

    -- Those that are due later are scheduled or retryable: as many more are
    -- looked at as there are retryable ones among them.
    select count(*), count(*) filter (where z.state = {scheduled}) into looked, later from (
      select y.state from {priorities} as p
      cross join lateral (select x.state from {ns}.jobs x where x.queue = name and {waits x}
        and {at x} > (p << 48) + t and {at x} < (p + 1) << 48 limit most + 1 + retried) y
      limit most + 1 + retried) z;
    later := later + (select count(*) from (select from {ns}.jobs x where x.queue = name and x.behind is not null
      limit most + 1) y);
    return query select t, name, paused_until, {scheduled}::smallint, least(later, most),
      later > most or looked > most + retried, null::bigint where later > 0 or looked > most + retried;

    foreach ended in array array[{completed}, {discarded}, {cancelled}]::smallint[] loop
      return query select t, name, paused_until, ended, least(c.n, most), c.n > most, null::bigint
      from (select count(*) as n from (select from {ns}.jobs x where x.queue = name and x.state = ended
        and {counted x} limit most + 1) y) c where c.n > 0;
    end loop;
  end loop;
  return query select t, x.queue, {ns}.paused_v1(x.queue, t), {running}::smallint,
    count(*), false, null::bigint from {ns}.jobs x where x.state = {running} group by x.queue;
  return query select t, ''::text, null::bigint, {scheduled}::smallint, 0::bigint, false, null::bigint;
end $$;

-- The workers that are known, and how many jobs run for each.
create or replace function {ns}.workers_v1()
returns table (now bigint, name text, since bigint, beat_at bigint, lease_ends bigint, about bytea, running bigint)
language plpgsql stable {hot} as $$
#variable_conflict use_column
declare
  t bigint := {ns}.clock_v1();
begin
  return query select t, w.name, w.since, w.beat_at, w.lease_ends, w.about, {ns}.running_v1(w.name, null)
    from {ns}.workers w order by w.name;
end $$;
