-- Functions that programs of the version before call, while they run beside
-- those of this one.
--
--   fetch_v1, fetch_v2, finish_v1, extend_v1  of workers
--   look_v1                              of clients
--   list_v1, list_v2, keys_v1, queues_v1, queues_v2  what reads
--   change_v1, release_v1                of operators

-- Version 7 does not bound fetches by bytes.
create or replace function {ns}.fetch_v1(worker text, fetch_no bigint, queues text[], slots integer[], kinds text[],
  floors bigint[])
returns setof {ns}.job_v1 language plpgsql {safe} as $$
begin
  return query select * from {ns}.fetch_v2(worker, fetch_no, queues, slots, kinds, floors, null);
end $$;

-- Version 12 gets a job as a row within a row.
create or replace function {ns}.fetch_v2(worker text, fetch_no bigint, queues text[], slots integer[], kinds text[],
  floors bigint[], max_bytes bigint)
returns setof {ns}.job_v1 language plpgsql {safe} as $$
begin
  return query select f.now, f.n, case when f.id is not null then row({columns f})::{ns}.jobs end
    from {ns}.fetch_v3(worker, fetch_no, queues, slots, kinds, floors, max_bytes) f;
end $$;

create or replace function {ns}.look_v1(ids text[], keys bytea[]) returns setof {ns}.found_v1
  language plpgsql {safe} as $$
begin
  return query select f.i, f.now, f.since, f.frees_at, f.pending, f.holder, f.gone,
      case when f.id is not null then row({columns f})::{ns}.jobs end
    from {ns}.look_v2(ids, keys) f;
end $$;

-- Version 8 lists jobs of one state at most, and looks at a fixed number of
-- rows. The jobs that match, from the largest ID below below_id down ('' = from
-- the top), at most so many. It looks at no more than look rows. shown is a
-- shown state; '' or null matches everything. few says that only retryable,
-- discarded and cancelled jobs are wanted, which have an index of their
-- own. max_bytes is null if no args are wanted; else it stops before args
-- and metas would exceed it, but returns at least one job. A row without a
-- job is a message: if n is null the list is complete, else last is the ID
-- from which to go on.
create or replace function {ns}.list_v2(below_id text, look integer, few boolean, shown smallint, of_queue text,
  of_kind text, of_key bytea,
  most integer, max_bytes bigint)
returns table (now bigint, n bigint, last text, job {ns}.jobs) language plpgsql {hot} as $$
#variable_conflict use_column
declare
  t bigint := {ns}.clock_v1();
  ids text[];     -- the jobs that it looks at
  matched text[]; -- those that match
  fit integer;    -- how many of these fit into max_bytes
begin
  if below_id = '' then
    below_id := (select max(x.id) || 'x' from {ns}.jobs x);
  end if;
  if few then
    ids := array(select x.id from {ns}.jobs x where {other x} and x.id < below_id order by x.id desc
      limit look);
  else
    ids := array(select x.id from {ns}.jobs x where x.id < below_id order by x.id desc limit look);
  end if;
  matched := array(
    select x.id
    from unnest(ids) with ordinality as r(id, place)
    cross join lateral (select * from {ns}.jobs x where x.id = r.id limit 1) x
    where (list_v2.shown is null or {ns}.shown_v1(x.state, x.behind, x.run_at, t) = list_v2.shown)
      and (of_queue = '' or x.queue = of_queue) and (of_kind = '' or x.kind = of_kind)
        and (of_key is null or x.key = of_key)
    limit most);
  fit := cardinality(matched);
  if max_bytes is not null then
    select count(*) into fit from (
      select r.place, sum({bytes x}) over (order by r.place rows unbounded preceding) as bytes
      from unnest(matched) with ordinality as r(id, place)
      cross join lateral (select * from {ns}.jobs x where x.id = r.id limit 1) x) y
    where y.bytes <= max_bytes or y.place = 1;
  end if;
  if max_bytes is null then
    return query select t, null::bigint, null::text, j.job from unnest(matched) with ordinality as r(id, place)
      cross join lateral (select {bare x} as job from {ns}.jobs x where x.id = r.id limit 1) j;
  else
    return query select t, null::bigint, null::text, j.job from unnest(matched[:fit]) with ordinality as r(id, place)
      cross join lateral (select x as job from {ns}.jobs x where x.id = r.id limit 1) j;
  end if;
  if fit < cardinality(matched) then
    return query select t, look::bigint, matched[fit], null::{ns}.jobs;
  else
    return query select t, cardinality(ids)::bigint, ids[cardinality(ids)], null::{ns}.jobs;
  end if;
end $$;

-- Version 7 lists jobs with their args.
create or replace function {ns}.list_v1(below_id text, look integer, few boolean, shown smallint, of_queue text,
  of_kind text, of_key bytea, most integer)
returns table (now bigint, n bigint, last text, job {ns}.jobs) language plpgsql {safe} as $$
begin
  return query select * from {ns}.list_v2(below_id, look, few, shown, of_queue, of_kind, of_key, most,
    {never});
end $$;

-- Version 8 lists keys from the first after after_key on.
create or replace function {ns}.keys_v1(after_key bytea, look integer, name bytea)
returns table (key bytea, inert boolean, holder text, waiter text, since bigint, frees_at bigint, pending smallint,
  gone boolean,
  kind text, queue text, key_text text, state smallint, digest bytea) language plpgsql {safe} as $$
begin
  return query select k.key, k.inert, k.holder, k.waiter, k.since, k.frees_at, k.pending, k.gone, k.kind, k.queue,
    k.key_text, k.state, k.digest
    from {ns}.keys_v2(after_key || '\x00', decode(repeat('ff', 33), 'hex'), look, name) k;
end $$;

-- Version 8 starts and moves no jobs by ID, and releases a key whoever holds
-- it.
create or replace function {ns}.change_v1(patience integer, op integer, ids text[], shown smallint[],
  without_key boolean)
returns setof {ns}.answer_v1 language plpgsql {safe} as $$
begin
  return query select * from {ns}.change_v2(patience, op, ids, shown, without_key, null, null, null, null);
end $$;

create or replace function {ns}.release_v1(patience integer, name bytea)
  returns table (outcome integer, holder text, behind text) language plpgsql {safe} as $$
begin
  return query select * from {ns}.release_v2(patience, name, null);
end $$;

-- Version 10 does not know pauses that end by themselves.
create or replace function {ns}.queues_v2(most integer)
returns table (now bigint, queue text, paused boolean, shown smallint, n bigint, at_least boolean, oldest bigint)
language plpgsql {hot} as $$
#variable_conflict use_column
begin
  return query select q.now, q.queue, q.paused is not null, q.shown, q.n, q.at_least, q.oldest
    from {ns}.queues_v3(most) q;
end $$;

-- Version 8 counts every job. Every queue that has a job or is paused, with a row
-- for each shown state.
create or replace function {ns}.queues_v1()
returns table (queue text, paused boolean, shown smallint, n bigint, oldest bigint) language plpgsql {safe} as $$
#variable_conflict use_column
declare
  t bigint := {ns}.clock_v1();
begin
  return query
  select q.queue, exists (select from {ns}.paused p where p.queue = q.queue), q.shown, q.n, q.oldest
  from (
    select j.queue, {ns}.shown_v1(j.state, j.behind, j.run_at, t) as shown, count(*) as n, min(j.run_at) as oldest
    from {ns}.jobs j group by 1, 2
    union all
    select p.queue, null, {scheduled}, null from {ns}.paused p
  ) q
  order by q.queue;
end $$;

-- Version 8 does not say what a worker is.
create or replace function {ns}.extend_v1(worker text, lease bigint, ids text[], runs bigint[], fetches_done bigint)
returns table (what integer, i integer, wake text) language plpgsql {safe} as $$
begin
  return query select * from {ns}.extend_v2(worker, lease, ids, runs, fetches_done, null);
end $$;

-- Version 8 keeps no results.
create or replace function {ns}.finish_v1(patience integer, worker text, rescue boolean, ids text[], runs bigint[],
  odd_ids text[], odd_runs bigint[], states smallint[], delays bigint[], gives_back boolean[], failures text[])
returns table (id text, status integer, state smallint, wake text) language plpgsql {safe} as $$
begin
  return query select * from {ns}.finish_v2(patience, worker, rescue, ids, runs, odd_ids, odd_runs, states, delays,
    gives_back, failures, null);
end $$;
