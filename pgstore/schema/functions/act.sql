-- Enqueues rows one after another: the careful path.
--
--   act_v1        all rows, and again from the start if something has changed meanwhile
--   act_one_v1    the same for one row, with less overhead if it writes to a holder that waits
--   enqueue_v1    one row
--   writing_v1, lock_holders_v1  locks what may be written to, before anything else
--   known_v1      answers a row whose ID a job has
--   claim_v1      takes the key of a new job if it is free
--   lock_v1       locks a holder with its key and its waiter, once it is to be written to
--   written_v1, rewritten_v1  give a holder or a waiter what a row brings
--   stand_v1, supersede_v1  the new job stands behind its holder, or takes its key
--   options_v1, write_v1, add_v1, stop_v1  are parts of these
--
-- These are the rules of internal/rules, under the names that those have.
-- The rows, and what answers say: see enqueue.sql.

-- It locks the jobs that stand behind no other, then those that do, then
-- keys, each in order. If something has changed meanwhile it releases
-- everything and begins again. Without patience (in a caller's transaction)
-- it waits as long as the caller does. It notifies the channel, if one is
-- named, of the queues in which jobs became due ("payload queue") and of the
-- workers that have a run to stop ("payload! worker"). It returns a row of
-- name for each such worker.
create or replace function {ns}.act_v1(patience integer, ids text[], nonces bytea[], kinds text[], queues text[],
  args bytea[], metas text[], tags text[],
  keys bytea[], texts text[], digests bytea[], nums bigint[], channel text, payload text)
returns setof {ns}.answer_v1 language plpgsql {hot} as $$
declare
  now bigint;
  filled text[];  -- queues in which a job became due
  halted text[];  -- workers that have a run to stop
  a {ns}.answer_v1;
  e record;
  writing bytea[] := {ns}.writing_v1(keys, nums);
begin
  if patience is not null then
    {guard}
    perform set_config('lock_timeout', patience::text, true);
  end if;
  for try in 1..100 loop
    begin
      perform {ns}.lock_holders_v1(writing);
      now := {ns}.clock_v1();
      filled := '{}';
      halted := '{}';
      for i in 1..cardinality(ids) loop
        e := {ns}.enqueue_v1(try, i, ids, nonces, kinds, queues, args, metas, tags, keys, texts, digests, nums, now);
        a := e.a;
        return next a;
        if e.fills is not null then
          filled := filled || e.fills;
        end if;
        if e.halts is not null then
          halted := halted || e.halts;
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

-- act_v1 for one row. If it writes to a holder that waits, and behind which
-- nobody stands, that is done here, with less overhead. What is read before
-- the holder is locked only says which way to go. After the lock everything
-- is read again, in statements of their own, which see what others did
-- meanwhile. If it has changed, that is an error (OQ001).
create or replace function {ns}.act_one_v1(patience integer, id text, nonce bytea, kind text, queue text, args bytea,
  meta text, tags text, key bytea, text text, digest bytea, nums bigint[])
returns setof {ns}.answer_v1 language plpgsql {hot} as $$
#variable_conflict use_variable
declare
  now bigint := {ns}.clock_v1();
  a {ns}.answer_v1;
  h {ns}.jobs;  -- the holder
  j {ns}.jobs;  -- the row as a job
  k {ns}.keys;
  action integer;
begin
  {guard}
  select z.holder, {ns}.shown_v1(x.state, x.behind, x.run_at, now) into a.c_holder, a.c_state
    from {ns}.keys z cross join lateral (select y.state, y.behind, y.run_at from {ns}.jobs y
      where y.id = z.holder and y.key = z.key and y.state <= {retryable} and y.behind is null limit 1) x
    where z.key = key and z.next is null and z.gone is null and (z.frees_at is null or z.frees_at > now)
      and not exists (select from {ns}.jobs y where y.id = id offset 0);
  action := {ns}.reaction_v1({first reactions}, a.c_state);
  if a.c_holder is null or action not in ({action_write}, {action_pushback}, {action_merge}) then
    return query select * from {ns}.act_v1(patience, array[id], array[nonce], array[kind], array[queue], array[args],
      array[meta], array[tags], array[key], array[text], array[digest], nums, null, null);
    return;
  end if;
  perform set_config('lock_timeout', patience::text, true);
  select * into h from {ns}.jobs x where x.id = a.c_holder and x.key = key for update;
  select * into k from {ns}.keys x where x.key = key;
  now := {ns}.clock_v1();
  if h.id is null or k.holder is distinct from h.id or k.next is not null or k.gone is not null or k.frees_at <= now
    or {ns}.shown_v1(h.state, h.behind, h.run_at, now) <> a.c_state then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
  a.try := 1;
  a.i := 1;
  a.outcome := {replaced};
  a.now := now;
  a.c_by := {by_key};
  a.c_since := coalesce(k.since, h.enqueued_at);
  a.c_frees_at := k.frees_at;
  a.c_pending := {ns}.named_v1(k.pending, h.behind, h.run, h.run_at, now);
  a.c_text := {ns}.text_v1(h);
  a.c_differ := case when h.digest <> digest then {args_differ} else {args_same} end;
  j.run_at := greatest(now, case when {first named} <> 0 then {first named} else now + {first delay} end);
  j.args := args;
  j.raw := {first raw} <> 0;
  j.digest := digest;
  j.meta := meta;
  j.tags := {ns}.tags_v1(tags);
  j.extra := {ns}.extra_v1(tags);
  j.priority := {first priority};
  j.max_attempts := {first max_attempts};
  a.job := {ns}.rewritten_v1(action, h, j, {first write}, {first max_wait}, now);
  return next a;
end $$;

-- Enqueues row i. a is the answer, fills a queue in which a job became due,
-- and halts a worker that has a run to stop.
create or replace function {ns}.enqueue_v1(try integer, i integer, ids text[], nonces bytea[], kinds text[],
  queues text[], args bytea[], metas text[], tags text[],
  keys bytea[], texts text[], digests bytea[], nums bigint[], now bigint,
  out a {ns}.answer_v1, out fills text, out halts text) language plpgsql as $$
declare
  action integer;
  j {ns}.jobs;  -- the new job; at the end the one that stands for the row
  h {ns}.jobs;  -- the effective holder
  w {ns}.jobs;  -- the waiter behind it
  k {ns}.keys;
  e record;
begin
  select * into h from {ns}.jobs x where x.id = ids[i];
  if found then
    a := {ns}.known_v1(h, i, kinds, nonces, nums, now);
    a.try := try;
    return;
  end if;
  j.id := ids[i];
  j.nonce := nonces[i];
  j.enqueued_at := now;
  j.run_at := greatest(now, case when {n named} <> 0 then {n named} else now + {n delay} end);
  j := {ns}.options_v1(j, i, kinds, queues, args, metas, tags, keys, texts, digests, nums);
  e := {ns}.claim_v1(j, try, now);
  k := e.k;
  if k.key is null then
    perform {ns}.add_v1(j);
    a.outcome := {inserted};
    a.frees_at := e.frees_at;
  else
    -- The answer is how it was before this row. If the snapshot of a
    -- caller's transaction is out of date, this fails as a serialization
    -- failure.
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
      perform from {ns}.keys x where x.key = j.key for share;
    end if;
    e := {ns}.met_v1(j, k, now);
    a := e.c;
    h := e.h;
    action := {ns}.reaction_v1({n reactions}, case when h.id is null then {completed}::smallint else a.c_state end);
    if action <= {action_refuse} then -- the holder is not locked and may be gone: answer what was read above
      a.outcome := case action when {action_refuse} then {rejected} else {skipped} end;
      a.job := h;
    else
      e := {ns}.lock_v1(h, k, a.c_state, now);
      h := e.h;
      k := e.k;
      w := e.w;
      if action = {action_take} then
        a.outcome := {superseded};
        e := {ns}.supersede_v1(j, h, k, w, now);
        j := e.j;
        halts := e.halted;
      elsif action = {action_stand} and w.id is null and h.behind is null then
        a.outcome := {coalesced};
        j := {ns}.stand_v1(j, h, k, now);
      else
        a.outcome := {replaced};
        j := {ns}.written_v1(action, case when w.id is not null and action in ({action_merge}, {action_stand}) then w
          else h end, j, i, kinds, queues, args, metas, tags, keys, texts, digests, nums, now);
      end if;
    end if;
  end if;
  a.try := try;
  a.i := i;
  a.now := now;
  if a.outcome not in ({skipped}, {rejected}) then
    select * into h from {ns}.jobs x where x.id = j.id;
    a.job := h;
    if j.behind is null and (a.outcome <> {replaced} or j.run_at <= now) then
      fills := j.queue;
    end if;
  end if;
end $$;

-- The keys of rows that write to a holder in some state, each once; null if
-- there is none.
create or replace function {ns}.writing_v1(keys bytea[], nums bigint[]) returns bytea[] language plpgsql as $$
begin
  return (select array_agg(distinct keys[i]) from generate_subscripts(keys, 1) i
    where keys[i] <> '' and {n reactions} & {writing_reactions} <> 0);
end $$;

-- Locks the holders of keys and the waiters behind them, each in the order
-- of their IDs: first the jobs that stand behind no other.
create or replace function {ns}.lock_holders_v1(writing bytea[]) returns void language plpgsql as $$
declare
  wanted text[];
begin
  if writing is null then
    return;
  end if;
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
end $$;

-- known: answers row i, whose ID the job h has.
create or replace function {ns}.known_v1(h {ns}.jobs, i integer, kinds text[], nonces bytea[], nums bigint[],
  now bigint) returns {ns}.answer_v1 language plpgsql as $$
declare
  a {ns}.answer_v1;
  o {ns}.jobs; -- the job that it displaced
begin
  a.i := i;
  a.now := now;
  a.job := h;
  if h.nonce <> nonces[i] then -- another call made it
    a.outcome := case when h.kind <> kinds[i]
      or {ns}.reaction_v1({n reactions}, {scheduled}::smallint) = {action_refuse} then {rejected} else {skipped} end;
    a.c_by := {by_id};
    a.c_holder := h.id;
    a.c_state := {ns}.shown_v1(h.state, h.behind, h.run_at, now);
    a.c_since := h.enqueued_at;
    return a;
  end if;
  a.outcome := coalesce(h.origin, {inserted}::smallint); -- this call was sent twice
  if h.origin is null then
    select coalesce(x.frees_at, {never}) into a.frees_at from {ns}.keys x
      where x.key = h.key and x.holder = h.id and (x.frees_at is null or x.frees_at > now);
    return a;
  end if;
  select * into o from {ns}.jobs x where x.id = h.displaced;
  a.c_by := {by_key};
  a.c_holder := h.displaced;
  a.c_state := coalesce({ns}.shown_v1(o.state, o.behind, o.run_at, now), {state_gone}::smallint);
  a.c_since := coalesce(o.enqueued_at, h.enqueued_at);
  a.c_pending := {until_came};
  a.c_text := {ns}.text_v1(h);
  a.c_differ := case when o.id is not null and o.digest is distinct from h.digest then {args_differ}
    else {args_same} end;
  return a;
end $$;

-- claim: takes the key of a new job, if it is free. frees_at is until when
-- the job holds it then: null = not at all, never = no clock frees it. k is
-- the key if another job holds it.
create or replace function {ns}.claim_v1(j {ns}.jobs, try integer, now bigint, out k {ns}.keys, out frees_at bigint)
  language plpgsql as $$
declare
  spent boolean;
  frees bigint := {ns}.frees_v1(j.hold_until, j.hold_window, j.hold_ttl,
    {ns}.anchor_v1(j.from_enqueue, now, j.run_at), j.run_at);
begin
  if j.key is null then
    return;
  end if;
  select * into k from {ns}.keys x where x.key = j.key;
  spent := found and coalesce(k.frees_at <= now, false) and k.next is null;
  if found and not spent then
    return;
  elsif spent then
    select * into k from {ns}.keys x where x.key = j.key for update; -- keeps out others that want it too
    if not found or k.frees_at is null or k.frees_at > now or k.next is not null then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
  end if;
  k := null;
  if frees <= now then -- it would hold for no time
    delete from {ns}.keys x where spent and x.key = j.key;
    return;
  elsif spent then
    update {ns}.keys x set (since, frees_at, pending, holder, gone) = (null, frees, {ns}.pending_v1(j.hold_until), j.id,
      null) where x.key = j.key;
  else
    insert into {ns}.keys (frees_at, pending, key, holder)
      values (frees, {ns}.pending_v1(j.hold_until), j.key, j.id) on conflict (key) do nothing;
    -- another has it, or has released it after a while
    if not found or try <= 3 and {ns}.clock_v1() > now + 5 then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
  end if;
  frees_at := coalesce(frees, {never});
end $$;

-- lock: locks a holder that is to be written to, its key, and the waiter. A
-- key that a clock gave to the waiter passes to it. All are locked already,
-- unless the holder has changed: then the locks are the wrong ones.
create or replace function {ns}.lock_v1(inout h {ns}.jobs, inout k {ns}.keys, shown smallint, now bigint,
  out w {ns}.jobs) language plpgsql as $$
declare
  settled boolean;
begin
  perform from {ns}.jobs x where x.id = coalesce(h.behind, h.id) for update skip locked;
  if not found then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
  select * into h from {ns}.jobs x where x.id = h.id and x.key = k.key for update skip locked;
  if not found or {ns}.shown_v1(h.state, h.behind, h.run_at, now) <> shown then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
  select * into k from {ns}.keys x where x.key = h.key for update skip locked;
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
  if k.next is not null then
    select * into w from {ns}.jobs x where x.id = k.next for update skip locked;
    if not found then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
  end if;
end $$;

-- Gives the job h, a holder or a waiter, what row i brings: j is the row as
-- a job. It returns h.
create or replace function {ns}.written_v1(action integer, inout h {ns}.jobs, j {ns}.jobs, i integer, kinds text[],
  queues text[], args bytea[], metas text[], tags text[],
  keys bytea[], texts text[], digests bytea[], nums bigint[], now bigint) language plpgsql as $$
declare
  due bigint := j.run_at;
begin
  if h.behind is null or action in ({action_write}, {action_pushback}) then
    h := {ns}.rewritten_v1(action, h, j, {n write}, {n max_wait}, now);
    return;
  end if;
  -- a waiter becomes what was asked for last
  h := {ns}.options_v1(h, i, kinds, queues, args, metas, tags, keys, texts, digests, nums);
  h.run_at := least(h.run_at, due);
  h.anchor := {ns}.anchor_v1(h.from_enqueue, h.enqueued_at, h.run_at);
  perform {ns}.save_all_v1(h);
end $$;

-- Gives a holder that waits what a row brings, by action write, pushback or
-- merge: j is the row as a job. It returns h.
create or replace function {ns}.rewritten_v1(action integer, inout h {ns}.jobs, j {ns}.jobs, fields bigint,
  max_wait bigint, now bigint) language plpgsql as $$
begin
  if action = {action_write} then
    h := {ns}.write_v1(h, fields, j);
    if fields & {field_run_at} <> 0 then
      h := {ns}.move_run_v1(h, j.run_at, now);
    end if;
  elsif action = {action_pushback} then
    h := {ns}.write_v1(h, {field_args}, j);
    h := {ns}.move_run_v1(h, greatest(now, least(j.run_at, h.enqueued_at + max_wait)), now);
  else -- {action_merge}
    h := {ns}.write_v1(h, {field_args}, j);
    if j.run_at < h.run_at and h.state <> {retryable} then
      h := {ns}.move_run_v1(h, j.run_at, now);
    end if;
  end if;
  perform {ns}.save_all_v1(h);
end $$;

-- The new job stands behind the holder, which runs.
create or replace function {ns}.stand_v1(inout j {ns}.jobs, h {ns}.jobs, k {ns}.keys, now bigint) language plpgsql as $$
begin
  j.origin := {coalesced};
  j.behind := h.id;
  j.displaced := h.id;
  k.next := j.id;
  perform {ns}.put_v1(k, now);
  perform {ns}.add_v1(j);
end $$;

-- supersede: the new job takes the key of a holder that waits, or stands
-- behind one that runs, whose worker (halted) is to stop it.
create or replace function {ns}.supersede_v1(inout j {ns}.jobs, h {ns}.jobs, k {ns}.keys, w {ns}.jobs, now bigint,
  out halted text) language plpgsql as $$
begin
  j.origin := {superseded};
  j.displaced := h.id;
  if w.id is not null then
    perform {ns}.stop_v1(w, j.id, now);
    k.next := null;
  end if;
  if h.state = {running} then
    update {ns}.jobs set cancel_requested = true, superseded_by = j.id where id = h.id;
    halted := h.worker;
    j.behind := h.id;
    k.next := j.id;
  else
    j.behind := h.behind;
    perform {ns}.stop_v1(h, j.id, now);
    k.holder := j.id;
    k.since := null;
    k.gone := null;
    k.pending := {ns}.pending_v1(j.hold_until);
    k.frees_at := case when j.behind is null then {ns}.frees_v1(j.hold_until, j.hold_window, j.hold_ttl,
      {ns}.anchor_v1(j.from_enqueue, now, j.run_at), j.run_at) end;
  end if;
  perform {ns}.put_v1(k, now);
  perform {ns}.add_v1(j);
end $$;

-- Inserts a new job. Its anchor follows from the other columns.
create or replace function {ns}.add_v1(j {ns}.jobs) returns void language plpgsql as $$
begin
  j.state := {scheduled};
  j.cancel_requested := false;
  j.keyless := false;
  insert into {ns}.jobs select (j).* on conflict (id) do nothing;
  if not found then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
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
