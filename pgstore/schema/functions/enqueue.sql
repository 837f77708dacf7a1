-- Enqueue.
--
--   insert_v1      the common path: inserts what is new, answers duplicates
--   insert_one_v1  the same for one row, with less overhead
--   insert_alike_v1  the same for rows that differ in no option, which fails if they meet anybody
--   look_v2        looks for the holders of keys, for rows with new IDs
--   lookup_v1      answers every row that meets a job and does not write to it
--   tags_v1, extra_v1, failed_v1  read what was sent in tags
--   rows_v1, shown_v1, reaction_v1  are parts of these
--
-- Everything else is decided by act_v1, see act.sql.
--
-- A row is spread over parallel arrays. An empty meta, tags, key, text or
-- digest is none. nums has the numbers of all rows, one row after the other:
-- {n delay} is the delay of row i, {first delay} that of the first row. They
-- are
--
--   priority, max_attempts
--   timeout, retention, delay  milliseconds; a timeout of 0 is none
--   named                      a run time that the caller named; 0 = none, delay says it
--   raw                        1 = args are opaque bytes, not JSON
--   hold_until                 the event that frees the key; this and the next are 0 without a key
--   hold_window, hold_ttl      milliseconds; 0 = none
--   from_enqueue               1 = these count from the enqueue
--   reactions                  an action for each state of the holder: see reaction_v1
--   write                      the fields that action write gives to the holder, a bit each
--   max_wait                   milliseconds, for action pushback
--
-- tags is a list; or, if there is an extra or a retention of failed jobs, an
-- object of all three, so that programs of the version before can call the same
-- functions.
--
-- The answers are answer_v1, see 007_tables.sql.

create or replace function {ns}.tags_v1(sent text) returns json language sql immutable parallel safe as $$
  select case when sent like '{%' then sent::json -> 'tags' else nullif(sent, '')::json end
$$;

create or replace function {ns}.extra_v1(sent text) returns bytea language sql immutable parallel safe as $$
  select case when sent like '{%' then decode(sent::json ->> 'extra', 'hex') end
$$;

create or replace function {ns}.failed_v1(sent text) returns bigint language sql immutable parallel safe as $$
  select case when sent like '{%' then (sent::json ->> 'retention_failed')::bigint end
$$;

-- The state that is shown: a job that waits and is due is available.
create or replace function {ns}.shown_v1(state smallint, behind text, run_at bigint, now bigint) returns smallint
  language sql immutable parallel safe as $$
  select case when state <= {retryable} and behind is null and run_at <= now then {available}::smallint
    else state end
$$;

-- Reactions.On: what a new row does to a holder in this state. reactions
-- has three bits for each of scheduled, available, retryable, running, and
-- all others.
create or replace function {ns}.reaction_v1(reactions bigint, shown smallint) returns integer
  language sql immutable parallel safe as $$
  select ((reactions >> case shown when {scheduled} then 0 when {available} then 3 when {retryable} then 6
    when {running} then 9 else 12 end) & 7)::integer
$$;

-- Answers the rows that meet a job and do not write to it. It reads one
-- snapshot and takes no lock.
create or replace function {ns}.lookup_v1(which integer[], ids text[], nonces bytea[], kinds text[], keys bytea[],
  nums bigint[])
returns setof {ns}.answer_v1 language plpgsql {hot} as $$
declare
  now bigint := {ns}.clock_v1();
begin
  return query
  select 0, i,
    case case when m.id is null then {ns}.reaction_v1({n reactions}, coalesce(c.shown, {completed}::smallint))
        when c.kind <> kinds[i] then {action_refuse}
        else {ns}.reaction_v1({n reactions}, {scheduled}::smallint) end
      when {action_refuse} then {rejected} else {skipped} end,
    now, null::bigint,
    case when m.id is null then {by_key} else {by_id} end,
    coalesce(m.id, k.holder), coalesce(c.shown, (k.gone ->> 'state')::smallint),
      case when m.id is null then coalesce(k.since, c.enqueued_at) else c.enqueued_at end,
    k.frees_at, {ns}.named_v1(case when k.settled then {ns}.pending_v1(c.hold_until) else k.pending end, c.behind,
      c.run, c.run_at, now),
    null::text, null::integer, k.gone, c.job
  from unnest(which) as i
  left join lateral (select x.id, x.nonce from {ns}.jobs x where x.id = ids[i] limit 1) m on true
  left join lateral (
    select x.settled, case when x.settled then x.next else x.holder end as holder,
      case when x.settled then x.frees_at else x.since end as since,
      case when x.settled then null else x.frees_at end as frees_at, x.pending,
        case when x.settled then null else x.gone end as gone
    from (select x.*, coalesce(x.frees_at <= now, false) as settled from {ns}.keys x
      where x.key = keys[i] and m.id is null limit 1) x
    where not x.settled or x.next is not null) k on true -- settled: the key has passed to the waiter
  left join lateral (select x as job, {ns}.shown_v1(x.state, x.behind, x.run_at, now) as shown, x.kind, x.enqueued_at,
    x.hold_until, x.behind, x.run, x.run_at
    from {ns}.jobs x where x.id = coalesce(m.id, k.holder) and (m.id is not null or x.key = keys[i] and k.gone is null)
      limit 1) c on true
  where m.id is not null and m.nonce <> nonces[i]
    or m.id is null and (c.shown is not null or k.gone is not null)
      and {ns}.reaction_v1({n reactions}, coalesce(c.shown, {completed}::smallint))
        <= {action_refuse};
end $$;

-- Looks for the holders of keys, for rows whose IDs are new, with less
-- overhead than lookup_v1. It leaves out what only that can answer: a row
-- that was sent before and whose job exists, and a key that has passed to a
-- waiter.
create or replace function {ns}.look_v2(ids text[], keys bytea[]) returns setof {ns}.found_v2
  language plpgsql {hot} as $$
declare
  now bigint := {ns}.clock_v1();
begin
  return query
  select i::integer, now, k.since, k.frees_at, k.pending, k.holder, k.gone, {read j}
  from unnest(ids, keys) with ordinality as r(id, key, i)
  cross join lateral (select * from {ns}.keys x where x.key = r.key and (x.frees_at is null or x.frees_at > now)
    limit 1) k
  left join lateral (select * from {ns}.jobs x where x.id = k.holder and x.key = r.key and k.gone is null
    limit 1) j on true
  where not exists (select from {ns}.jobs x where x.id = r.id offset 0);
end $$;

-- The rows as new jobs, except those that have met a job. The planner
-- inlines it.
create or replace function {ns}.rows_v1(now bigint, n integer, met integer[], ids text[], nonces bytea[], kinds text[],
  queues text[], args bytea[],
  metas text[], tags text[], keys bytea[], texts text[], digests bytea[], nums bigint[])
returns setof {ns}.jobs language sql stable as $$
  select now, r.run_at, nullif({n retention}, {usual_retention}), null::bigint, null::bigint, null::bigint,
    null::bigint, null::bigint,
    nullif({n timeout}, 0), nullif({n hold_window}, 0), nullif({n hold_ttl}, 0), null::integer,
      {n max_attempts}::integer, {scheduled}::smallint, {n priority}::smallint,
    nullif({n hold_until}, 0)::smallint, null::smallint, {n raw} <> 0, false, false,
      nullif({n from_enqueue} <> 0, false),
    ids[i], kinds[i], queues[i], nullif(keys[i], ''), nonces[i], nullif(digests[i], ''), args[i], nullif(texts[i], ''),
      null::text, null::text, null::text, null::text,
    nullif(metas[i], '')::json, {ns}.tags_v1(tags[i]), null::json, null::bytea, null::text,
    {ns}.extra_v1(tags[i]), {ns}.failed_v1(tags[i])
  from (
    select i, greatest(now, case when {n named} <> 0 then {n named} else now + {n delay} end) as run_at
    from generate_series(1, n) i
    where met is null or i not in (select unnest(met))
    offset 0) r
$$;

-- Inserts the jobs whose key is free, and answers for the duplicates, in
-- one statement each. What it cannot decide is an error (OQ001) that leaves
-- nothing behind; act_v1 decides it. The rows come in the order of their
-- IDs; by_key has those with a key in the order of the keys; no key or ID
-- occurs twice. So two calls never wait for each other, and indexes grow at
-- their ends. made says that no ID can belong to another job; one that
-- exists after all is an error (23505). An answer with i = 0 tells the
-- time; the rows without an answer were inserted.
create or replace function {ns}.insert_v1(patience text, ids text[], nonces bytea[], kinds text[], queues text[],
  args bytea[], metas text[], tags text[],
  keys bytea[], texts text[], digests bytea[], nums bigint[], by_key integer[], made boolean)
returns setof {ns}.answer_v1 language plpgsql {hot} as $$
declare
  ignored text := set_config('lock_timeout', patience, true);
  now bigint := {ns}.clock_v1();
  n integer := cardinality(ids);
  claims integer := coalesce(cardinality(by_key), 0);
  taken integer := 0;    -- keys
  inserted integer;
  met integer[];         -- rows whose key or ID is not free
  answered integer;
  a {ns}.answer_v1 := row(0, {row_of_time}, {inserted}, now, {answer_nulls});
begin
  {guard}
  if claims > 0 then
    insert into {ns}.keys (frees_at, pending, key, holder)
    select {ns}.frees_v1(r.hold_until, r.hold_window, r.hold_ttl, case when r.from_enqueue then now else r.run_at end,
      r.run_at),
      {ns}.pending_v1(r.hold_until), r.key, r.id
    from (
      select keys[i] as key, ids[i] as id, greatest(now,
        case when {n named} <> 0 then {n named} else now + {n delay} end) as run_at,
        {n hold_until}::smallint as hold_until, nullif({n hold_window}, 0) as hold_window,
          nullif({n hold_ttl}, 0) as hold_ttl,
        {n from_enqueue} <> 0 as from_enqueue
      from unnest(by_key) i
      offset 0) r -- so that values are computed once and functions inlined
    on conflict (key) do nothing;
    get diagnostics taken = row_count;
    if taken < claims then
      select array_agg(i) into met from unnest(by_key) i
      left join lateral (select k.holder from {ns}.keys k where k.key = keys[i] limit 1) k on true
      where k.holder is distinct from ids[i];
    end if;
  end if;
  if taken < claims and claims = n and taken = 0 then
    inserted := 0; -- a batch of duplicates
  else
    if made then
      insert into {ns}.jobs select * from {ns}.rows_v1(now, n, met, ids, nonces, kinds, queues, args, metas, tags, keys,
        texts, digests, nums);
    else
      insert into {ns}.jobs select * from {ns}.rows_v1(now, n, met, ids, nonces, kinds, queues, args, metas, tags, keys,
        texts, digests, nums)
      on conflict (id) do nothing; -- a sixth of the cost of it all
    end if;
    get diagnostics inserted = row_count;
  end if;
  if inserted < n then
    if inserted + coalesce(cardinality(met), 0) < n then -- an ID exists
      select array_agg(i) into met from generate_series(1, n) i
      left join lateral (select j.ctid as tid, j.xmin from {ns}.jobs j where j.id = ids[i] and j.nonce = nonces[i]
        limit 1) j on true
      where j.tid is null or j.xmin is distinct from pg_current_xact_id_if_assigned()::xid;
      if exists (select from unnest(met) as i
        cross join lateral (select from {ns}.keys k where k.key = keys[i] and k.holder = ids[i] limit 1) k) then
        raise exception 'onceq: again' using errcode = 'OQ001'; -- its row has taken a key already
      end if;
    end if;
    return query select * from {ns}.lookup_v1(met, ids, nonces, kinds, keys, nums);
    get diagnostics answered = row_count;
    if answered <> cardinality(met) then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
  end if;
  return next a;
end $$;

-- insert_v1 for one row, with less overhead: it scans nothing, so it need
-- not influence the planner.
create or replace function {ns}.insert_one_v1(patience text, id text, nonce bytea, kind text, queue text, args bytea,
  meta text, tags text,
  key bytea, text text, digest bytea, nums bigint[])
returns setof {ns}.answer_v1 language plpgsql {safe} as $$
#variable_conflict use_variable
declare
  ignored text := set_config('lock_timeout', patience, true);
  now bigint := {ns}.clock_v1();
  run_at bigint := greatest(now, case when {first named} <> 0 then {first named} else now + {first delay} end);
  a {ns}.answer_v1 := row(0, {row_of_time}, {inserted}, now, {answer_nulls});
begin
  {guard}
  if key is not null then
    insert into {ns}.keys (frees_at, pending, key, holder)
    values ({ns}.frees_v1({first hold_until}::smallint, nullif({first hold_window}, 0), nullif({first hold_ttl}, 0),
      case when {first from_enqueue} <> 0 then now else run_at end, run_at),
      {ns}.pending_v1({first hold_until}::smallint), key, id)
    on conflict on constraint keys_pkey do nothing;
  end if;
  if key is null or found then
    insert into {ns}.jobs (enqueued_at, run_at, retention, timeout, hold_window, hold_ttl, max_attempts, state,
      priority,
      hold_until, raw, cancel_requested, keyless, from_enqueue, id, kind, queue, key, nonce, digest, args, key_text,
        meta, tags, extra, retention_failed)
    values (now, run_at, nullif({first retention}, {usual_retention}), nullif({first timeout}, 0),
      nullif({first hold_window}, 0), nullif({first hold_ttl}, 0),
      {first max_attempts}, {scheduled}, {first priority},
      nullif({first hold_until}, 0), {first raw} <> 0, false, false, nullif({first from_enqueue} <> 0, false),
      id, kind, queue, key, nonce, digest, args, nullif(text, ''), meta::json, {ns}.tags_v1(tags),
      {ns}.extra_v1(tags), {ns}.failed_v1(tags))
    on conflict on constraint jobs_pkey do nothing;
    if found then
      return next a;
      return;
    elsif key is not null then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
  end if;
  return query select * from {ns}.lookup_v1(array[1], array[id], array[nonce], array[kind], array[key], nums);
  if not found then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
end $$;

-- Inserts rows that differ in no option and have new IDs. It does not look
-- whether keys are held: then it fails (23505) and leaves nothing behind,
-- and insert_v1 has to do it. What follows from the options is computed once;
-- each row has a meta and tags (sent) of its own. Rows and by_key are ordered
-- as for insert_v1. It returns the time.
create or replace function {ns}.insert_alike_v1(patience text, ids text[], nonces bytea[], kind text, queue text,
  args bytea[], metas text[], sent text[], keys bytea[], texts text[], digests bytea[], nums bigint[], by_key integer[])
returns bigint language plpgsql {hot} as $$
#variable_conflict use_variable
declare
  ignored text := set_config('lock_timeout', patience, true);
  now bigint := {ns}.clock_v1();
  run_at bigint := greatest(now, case when {first named} <> 0 then {first named} else now + {first delay} end);
  retention bigint := nullif({first retention}, {usual_retention});
  timeout bigint := nullif({first timeout}, 0);
  hold_until smallint := nullif({first hold_until}, 0);
  hold_window bigint := nullif({first hold_window}, 0);
  hold_ttl bigint := nullif({first hold_ttl}, 0);
  from_enqueue boolean := nullif({first from_enqueue} <> 0, false);
  frees_at bigint := {ns}.frees_v1(hold_until, hold_window, hold_ttl, case when from_enqueue then now else run_at end,
    run_at);
  pending smallint := {ns}.pending_v1(hold_until);
  max_attempts integer := {first max_attempts};
  priority smallint := {first priority};
  raw boolean := {first raw} <> 0;
begin
  {guard}
  if keys is not null then
    insert into {ns}.keys (frees_at, pending, key, holder)
    select frees_at, pending, keys[i], ids[i] from unnest(by_key) i;
  end if;
  insert into {ns}.jobs (enqueued_at, run_at, retention, timeout, hold_window, hold_ttl, max_attempts, state, priority,
    hold_until, raw, cancel_requested, keyless, from_enqueue, id, kind, queue, key, nonce, digest, args, key_text,
    meta, tags, extra, retention_failed)
  select now, run_at, retention, timeout, hold_window, hold_ttl, max_attempts, {scheduled}, priority,
    hold_until, raw, false, false, from_enqueue, ids[i], kind, queue, keys[i], nonces[i], digests[i], args[i],
    nullif(texts[i], ''), nullif(metas[i], '')::json, {ns}.tags_v1(sent[i]), {ns}.extra_v1(sent[i]),
    {ns}.failed_v1(sent[i])
  from generate_series(1, cardinality(ids)) i;
  return now;
end $$;
