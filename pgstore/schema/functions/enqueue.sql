-- Enqueue.
--
--   insert_v1      the common path: inserts what is new, answers duplicates
--   insert_one_v1  the same for one row, with less overhead
--   look_v1        looks for the holders of keys, for rows with new IDs
--   lookup_v1      answers every row that meets a job and does not write to it
--   act_v1         the careful path, for everything else: one row after another
--   tags_v1, extra_v1, failed_v1  read what was sent in tags
--   rows_v1, options_v1, write_v1, stop_v1, shown_v1, reaction_v1  are parts of these
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
create or replace function {ns}.look_v1(ids text[], keys bytea[]) returns setof {ns}.found_v1
  language plpgsql {hot} as $$
declare
  now bigint := {ns}.clock_v1();
begin
  return query
  select i::integer, now, k.since, k.frees_at, k.pending, k.holder, k.gone, j.job
  from unnest(ids, keys) with ordinality as r(id, key, i)
  cross join lateral (select * from {ns}.keys x where x.key = r.key and (x.frees_at is null or x.frees_at > now)
    limit 1) k
  left join lateral (select x as job from {ns}.jobs x where x.id = k.holder and x.key = r.key and k.gone is null
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

-- The keys of rows that write to a holder in some state, each once; null if
-- there is none.
create or replace function {ns}.writing_v1(keys bytea[], nums bigint[]) returns bytea[] language plpgsql as $$
begin
  return (select array_agg(distinct keys[i]) from generate_subscripts(keys, 1) i
    where keys[i] <> '' and {n reactions} & {writing_reactions} <> 0);
end $$;

-- Enqueues the rows one after another, as internal/memstore does. It locks
-- the jobs that stand behind no other, then those that do, then keys, each
-- in order. If something has changed meanwhile it releases everything and
-- begins again. Without patience (in a caller's transaction) it waits as
-- long as the caller does. It notifies the channel, if one is named, of the
-- queues in which jobs became due ("payload queue") and of the workers that
-- have a run to stop ("payload! worker"). It returns a row of name for each
-- such worker.
create or replace function {ns}.act_v1(patience integer, ids text[], nonces bytea[], kinds text[], queues text[],
  args bytea[], metas text[], tags text[],
  keys bytea[], texts text[], digests bytea[], nums bigint[], channel text, payload text)
returns setof {ns}.answer_v1 language plpgsql {hot} as $$
declare
  now bigint;
  n integer := cardinality(ids);
  writing bytea[];       -- keys with a holder that may be written to
  wanted text[];         -- jobs to lock
  filled text[];         -- queues in which a job became due
  halted text[];         -- workers that have a run to stop
  i integer;
  due bigint;
  frees bigint;
  action integer;
  outcome integer;
  stands text;
  spent boolean;
  held boolean;
  settled boolean;
  j {ns}.jobs;           -- the new job
  h {ns}.jobs;           -- the effective holder
  w {ns}.jobs;           -- the waiter behind it
  k {ns}.keys;
  c {ns}.answer_v1;      -- the conflict
  snapshot boolean := current_setting('transaction_isolation') not in ('read committed', 'read uncommitted');
begin
  if patience is not null then
    {guard}
    perform set_config('lock_timeout', patience::text, true);
  end if;
  writing := {ns}.writing_v1(keys, nums);
  for try in 1..100 loop
    begin
      if writing is not null then
        select array_agg(x order by x) into wanted from (
          select distinct coalesce(y.behind, y.id) as x
          from unnest(writing) q cross join lateral (select z.holder, z.next from {ns}.keys z where z.key = q limit 1) z
            cross join lateral (values (z.holder), (z.next)) v(id)
            cross join lateral (select y.id, y.behind from {ns}.jobs y where y.id = v.id limit 1) y) s;
        perform from {ns}.jobs y where y.id = any(wanted) order by y.id for update;
        select array_agg(x order by x) into wanted from (
          select distinct y.id as x
          from unnest(writing) q cross join lateral (select z.holder, z.next from {ns}.keys z where z.key = q limit 1) z
            cross join lateral (values (z.holder), (z.next)) v(id)
            cross join lateral (select y.id from {ns}.jobs y where y.id = v.id and y.behind is not null limit 1) y) s;
        perform from {ns}.jobs y where y.id = any(wanted) order by y.id for update;
      end if;
      now := {ns}.clock_v1();
      filled := '{}';
      halted := '{}';
      for i in 1..n loop
        due := greatest(now, case when {n named} <> 0 then {n named} else now + {n delay} end);

        -- 1. The ID exists.
        select * into h from {ns}.jobs where id = ids[i];
        if found then
          if h.nonce = nonces[i] then -- this call was sent twice
            select coalesce(x.frees_at, {never}) into frees from {ns}.keys x
              where h.origin is null and x.key = h.key and x.holder = h.id
              and (x.frees_at is null or x.frees_at > now);
            return query select try, i, coalesce(h.origin, {inserted}::smallint)::integer, now, frees,
              case when h.origin <> {inserted} then {by_key} end,
              case when h.origin <> {inserted} then h.displaced end,
              coalesce({ns}.shown_v1(o.state, o.behind, o.run_at, now), {state_gone}::smallint),
                coalesce(o.enqueued_at, h.enqueued_at), null::bigint, {until_came}::smallint, {ns}.text_v1(h),
              case when o.id is not null and o.digest is distinct from h.digest then {args_differ} else {args_same} end,
                null::json, h
              from (select) as one left join {ns}.jobs o on o.id = h.displaced and h.origin <> {inserted};
          else
            return query select try, i, case when h.kind <> kinds[i]
              or {ns}.reaction_v1({n reactions}, {scheduled}::smallint) = {action_refuse} then {rejected}
              else {skipped} end, now, null::bigint,
              {by_id}, h.id, {ns}.shown_v1(h.state, h.behind, h.run_at, now), h.enqueued_at, null::bigint,
              null::smallint, null::text, null::integer, null::json, h;
          end if;
          continue;
        end if;

        j := null;
        j.enqueued_at := now;
        j.run_at := due;
        j.state := {scheduled};
        j.cancel_requested := false;
        j.keyless := false;
        j.id := ids[i];
        j.nonce := nonces[i];
        j := {ns}.options_v1(j, i, kinds, queues, args, metas, tags, keys, texts, digests, nums);
        if j.key is not null then
          j.anchor := {ns}.anchor_v1(j.from_enqueue, now, due);
        end if;
        frees := null;
        held := false;

        -- 2. No claim, or its key is free.
        if j.key is not null then
          select * into k from {ns}.keys where key = j.key;
          spent := found and coalesce(k.frees_at <= now, false) and k.next is null;
          if spent then
            select * into k from {ns}.keys where key = j.key for update; -- keeps out others that want it too
            if not found or k.frees_at is null or k.frees_at > now or k.next is not null then
              raise exception 'onceq: again' using errcode = 'OQ001';
            end if;
          end if;
          if spent or k.key is null then
            frees := {ns}.frees_v1(j.hold_until, j.hold_window, j.hold_ttl, j.anchor, due);
            if frees <= now then -- it would hold for no time
              delete from {ns}.keys where spent and key = j.key;
            elsif spent then
              update {ns}.keys set (since, frees_at, pending, holder, gone) = (null, frees,
                {ns}.pending_v1(j.hold_until), j.id, null) where key = j.key;
            else
              insert into {ns}.keys (frees_at, pending, key, holder)
                values (frees, {ns}.pending_v1(j.hold_until), j.key, j.id)
                on conflict (key) do nothing;
              -- another has it, or has released it after a while
              if not found or try <= 3 and {ns}.clock_v1() > now + 5 then
                raise exception 'onceq: again' using errcode = 'OQ001';
              end if;
            end if;
            held := coalesce(frees > now, true);
            k := null;
          end if;
        end if;
        if j.key is null or k.key is null then
          j.anchor := null; -- it follows from the other columns
          insert into {ns}.jobs select (j).* on conflict (id) do nothing;
          if not found then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          filled := filled || j.queue;
          return query select try, i, {inserted}, now, case when held then coalesce(frees, {never}) end,
            {conflict_nulls}, x from {ns}.jobs x where x.id = j.id;
          continue;
        end if;

        -- 3. The key is held. The answer is how it was before this row.
        if snapshot then
          -- if the snapshot is out of date, this fails as a serialization failure
          perform from {ns}.keys where key = j.key for share;
        end if;
        c := null;
        c.c_since := k.since;
        c.c_frees_at := k.frees_at;
        c.c_pending := k.pending;
        c.c_holder := k.holder;
        h := null;
        if k.next is not null and k.frees_at <= now then
          c.c_since := k.frees_at;
          c.c_frees_at := null;
          c.c_holder := k.next;
        end if;
        if k.gone is null or c.c_holder = k.next then
          select y.* into h from {ns}.jobs y where y.id = c.c_holder and y.key = j.key
            and exists (select from {ns}.keys x
              -- at one instant
              where (x.key, x.holder, x.pending) = (k.key, k.holder, k.pending) and (x.next, x.frees_at) is not distinct
                from (k.next, k.frees_at));
          if not found then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          c.c_since := coalesce(c.c_since, h.enqueued_at);
          if c.c_holder = k.next then
            c.c_pending := {ns}.pending_v1(h.hold_until);
          end if;
          c.c_pending := {ns}.named_v1(c.c_pending, h.behind, h.run, h.run_at, now);
          c.c_state := {ns}.shown_v1(h.state, h.behind, h.run_at, now);
          c.c_text := {ns}.text_v1(h);
          c.c_differ := case when h.digest <> j.digest then {args_differ} else {args_same} end;
          action := {ns}.reaction_v1({n reactions}, c.c_state);
        else
          c.c_state := (k.gone ->> 'state')::smallint;
          c.c_gone := k.gone;
          action := {ns}.reaction_v1({n reactions}, {completed}::smallint);
        end if;
        outcome := {replaced};
        stands := h.id;
        if action > {action_refuse} then
          -- These are locked already, unless the holder has changed: then
          -- the locks are the wrong ones.
          perform from {ns}.jobs where id = coalesce(h.behind, h.id) for update skip locked;
          if not found then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          select * into h from {ns}.jobs where id = h.id and key = j.key for update skip locked;
          if not found or {ns}.shown_v1(h.state, h.behind, h.run_at, now) <> c.c_state then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          select * into k from {ns}.keys where key = j.key for update skip locked;
          if not found then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          settled := k.next is not null and coalesce(k.frees_at <= now, false);
          k := {ns}.settle_v1(k, now);
          if settled then
            perform {ns}.put_v1(k, now);
          end if;
          if k.holder <> h.id then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          w := null;
          if k.next is not null then
            select * into w from {ns}.jobs where id = k.next for update skip locked;
            if not found then
              raise exception 'onceq: again' using errcode = 'OQ001';
            end if;
          end if;
        end if;

        if action = {action_answer} then
          outcome := {skipped};
        elsif action = {action_refuse} then
          outcome := {rejected};
        elsif action = {action_write} then
          h := {ns}.write_v1(h, {n write}, j);
          if {n write} & {field_run_at} <> 0 then
            h := {ns}.move_run_v1(h, due, now);
          end if;
          perform {ns}.save_all_v1(h);
        elsif action = {action_pushback} then
          h := {ns}.write_v1(h, {field_args}, j);
          h := {ns}.move_run_v1(h, greatest(now, least(due, h.enqueued_at + {n max_wait})), now);
          perform {ns}.save_all_v1(h);
        elsif action in ({action_merge}, {action_stand}) and (w.id is not null or h.behind is not null) then
          -- to the waiter
          if w.id is null then
            w := h;
          end if;
          stands := w.id;
          w := {ns}.options_v1(w, i, kinds, queues, args, metas, tags, keys, texts, digests, nums);
          w.run_at := least(w.run_at, due);
          w.anchor := {ns}.anchor_v1(w.from_enqueue, w.enqueued_at, w.run_at);
          perform {ns}.save_all_v1(w);
        elsif action = {action_merge} then
          h := {ns}.write_v1(h, {field_args}, j);
          if due < h.run_at and h.state <> {retryable} then
            h := {ns}.move_run_v1(h, due, now);
          end if;
          perform {ns}.save_all_v1(h);
        elsif action = {action_stand} then
          outcome := {coalesced};
          stands := j.id;
          j.origin := {coalesced};
          j.behind := h.id;
          j.displaced := h.id;
          k.next := j.id;
          perform {ns}.put_v1(k, now);
        else -- {action_take}
          outcome := {superseded};
          stands := j.id;
          j.origin := {superseded};
          j.displaced := h.id;
          if w.id is not null then
            perform {ns}.stop_v1(w, j.id, now);
            k.next := null;
          end if;
          if h.state = {running} then
            update {ns}.jobs set cancel_requested = true, superseded_by = j.id where id = h.id;
            halted := halted || h.worker;
            j.behind := h.id;
            k.next := j.id;
            perform {ns}.put_v1(k, now);
          else
            j.behind := h.behind;
            perform {ns}.stop_v1(h, j.id, now);
            k.holder := j.id;
            k.since := null;
            k.gone := null;
            k.pending := {ns}.pending_v1(j.hold_until);
            k.frees_at := case when j.behind is null
              then {ns}.frees_v1(j.hold_until, j.hold_window, j.hold_ttl, j.anchor, j.run_at) end;
            perform {ns}.put_v1(k, now);
          end if;
        end if;
        if outcome in ({coalesced}, {superseded}) then
          j.anchor := null;
          insert into {ns}.jobs select (j).* on conflict (id) do nothing;
          if not found then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          if j.behind is null then
            filled := filled || j.queue;
          end if;
        elsif action in ({action_write}, {action_pushback}, {action_merge}) and h.behind is null
          and h.run_at <= now then
          filled := filled || h.queue;
        end if;
        if action <= {action_refuse} then -- the holder is not locked and may be gone: answer what was read above
          return query select try, i, outcome, now, null::bigint, {by_key}, c.c_holder, c.c_state, c.c_since,
            c.c_frees_at, c.c_pending, c.c_text, c.c_differ, c.c_gone, h;
        else
          return query select try, i, outcome, now, null::bigint, {by_key}, c.c_holder, c.c_state, c.c_since,
            c.c_frees_at, c.c_pending, c.c_text, c.c_differ, c.c_gone, x
            from {ns}.jobs x where x.id = stands;
        end if;
      end loop;
      if channel is not null then
        perform pg_notify(channel, rtrim(payload) || ' ' || q) from (select distinct unnest(filled) as q) x;
        perform pg_notify(channel, rtrim(payload) || '! ' || q) from (select distinct unnest(halted) as q) x;
      end if;
      return query select try, {row_of_name}, {inserted}, now, null::bigint, null::integer, q,
        {conflict_nulls_from_state}, null::{ns}.jobs
        from (select distinct unnest(halted) as q) x;
      return query select try, {row_of_time}, {inserted}, now, null::bigint, {conflict_nulls}, null::{ns}.jobs;
      return;
    exception when sqlstate 'OQ001' then
      null; -- releases all locks of this try
    end;
  end loop;
  raise exception 'onceq: the jobs that were met changed 100 times in a row' using errcode = 'serialization_failure';
end $$;

-- options: gives a job all that the caller of an enqueue chose, except ID
-- and run time.
create or replace function {ns}.options_v1(inout j {ns}.jobs, i integer, kinds text[], queues text[], args bytea[],
  metas text[], tags text[],
  keys bytea[], texts text[], digests bytea[], nums bigint[]) language plpgsql as $$
declare
begin
  j.kind := kinds[i];
  j.queue := queues[i];
  j.args := args[i];
  j.raw := {n raw} <> 0;
  j.meta := nullif(metas[i], '');
  j.tags := {ns}.tags_v1(tags[i]);
  j.extra := {ns}.extra_v1(tags[i]);
  j.retention_failed := {ns}.failed_v1(tags[i]);
  j.priority := {n priority};
  j.max_attempts := {n max_attempts};
  j.timeout := nullif({n timeout}, 0);
  j.retention := nullif({n retention}, {usual_retention});
  if keys[i] <> '' then
    j.key := keys[i];
    j.key_text := texts[i];
    j.digest := digests[i];
    j.hold_until := {n hold_until};
    j.hold_window := nullif({n hold_window}, 0);
    j.hold_ttl := nullif({n hold_ttl}, 0);
    j.from_enqueue := nullif({n from_enqueue} <> 0, false);
  end if;
end $$;

-- write: gives a waiting job new values of some fields.
create or replace function {ns}.write_v1(inout h {ns}.jobs, fields bigint, j {ns}.jobs) language plpgsql as $$
begin
  if fields & {field_args} <> 0 then
    h.key_text := {ns}.text_v1(h); -- keeps the text of the args that took the key
    h.args := j.args;
    h.raw := j.raw;
    h.digest := j.digest;
    h.extra := j.extra;
  end if;
  if fields & {field_meta} <> 0 then
    h.meta := j.meta;
  end if;
  if fields & {field_priority} <> 0 then
    h.priority := j.priority;
  end if;
  if fields & {field_max_attempts} <> 0 then
    h.max_attempts := j.max_attempts;
  end if;
  if fields & {field_tags} <> 0 then
    h.tags := j.tags;
  end if;
end $$;

-- stop: cancels a waiting job whose key another job takes.
create or replace function {ns}.stop_v1(j {ns}.jobs, stopped_by text, now bigint) returns void language plpgsql as $$
begin
  j.state := {cancelled};
  if {kept j} = 0 then
    delete from {ns}.jobs where id = j.id;
    return;
  end if;
  j.behind := null;
  j.superseded_by := stopped_by;
  j.keyless := true;
  j.cancel_requested := false;
  j.finished_at := now;
  j.anchor := least({ns}.anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at), now);
  perform {ns}.save_v1(j);
end $$;
