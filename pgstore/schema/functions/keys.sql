-- The clock, the arithmetic of holding a key, and what happens to a key
-- when its holder changes. These are the rules of internal/rules, under the
-- same names.
--
--   clock_v1                                    the time
--   frees_v1, rest_v1, anchor_v1, anchor_of_v1  when a clock frees a key
--   ends_on_v1, pending_v1, named_v1            which event frees it
--   save_v1, save_all_v1, put_v1                write a job, or a key, back
--   settle_v1                                   a clock gave the key to the waiter
--   ended_v1, let_go_v1                         a job ended: its key is freed, kept or passed on
--   remove_v1, gone_v1, text_v1                 its row goes, and the key keeps what is known of it
--   move_run_v1                                 a waiting job gets another run time
--   met_v1                                      what is told of a key that is held
--
-- A word in braces stands for a number or a condition: see words in
-- schema.go.

create or replace function {ns}.clock_v1() returns bigint language sql volatile as $$
  select floor(date_part('epoch', clock_timestamp()) * 1000)::bigint
$$;

-- Hold.FreesAt: when a clock frees the key while the event has not come;
-- null = never.
create or replace function {ns}.frees_v1(hold_until smallint, hold_window bigint, hold_ttl bigint, anchor bigint,
  run_at bigint)
returns bigint language sql immutable parallel safe as $$
  select least(
    case hold_until
      when {until_due} then greatest(run_at, anchor + coalesce(hold_window, 0))
      when {until_window_ends} then anchor + coalesce(hold_window, 0)
    end,
    anchor + hold_ttl)
$$;

-- Hold.RestAt: when a clock frees the key once the event has come.
create or replace function {ns}.rest_v1(hold_window bigint, hold_ttl bigint, anchor bigint)
returns bigint language sql immutable parallel safe as $$
  select least(anchor + coalesce(hold_window, 0), anchor + hold_ttl)
$$;

-- Hold.AnchorAt.
create or replace function {ns}.anchor_v1(from_enqueue boolean, enqueued_at bigint, run_at bigint)
returns bigint language sql immutable parallel safe as $$
  select case when from_enqueue then enqueued_at else greatest(enqueued_at, run_at) end
$$;

-- Until.EndsOn.
create or replace function {ns}.ends_on_v1(hold_until smallint, state smallint)
returns boolean language sql immutable parallel safe as $$
  select case when hold_until in ({until_due}, {until_started}, {until_finished}) then state >= {completed}
    when hold_until = {until_succeeded} then state = {completed}
    when hold_until = {until_failed} then state in ({discarded}, {cancelled}) else false end
$$;

-- The anchor of a job. While it follows from the other columns it is not
-- stored.
create or replace function {ns}.anchor_of_v1(anchor bigint, key bytea, from_enqueue boolean, enqueued_at bigint,
  run_at bigint)
returns bigint language sql immutable parallel safe as $$
  select case when anchor is not null or key is null then anchor when from_enqueue then enqueued_at
    else greatest(enqueued_at, run_at) end
$$;

create or replace function {ns}.pending_v1(hold_until smallint) returns smallint
  language sql immutable parallel safe as $$
  select case when hold_until = {until_window_ends} then {until_came} else hold_until end::smallint
$$;

-- The event that is shown as pending: UntilDue has come once the holder was
-- due or fetched.
create or replace function {ns}.named_v1(pending smallint, behind text, run bigint, run_at bigint, now bigint)
  returns smallint language sql immutable parallel safe as $$
  select case when pending = {until_due} and behind is null and (run > 0 or run_at <= now) then {until_came}
    else pending end::smallint
$$;

-- Writes a job back, without the columns that never change and without
-- args: a job that was read without args can be written.
create or replace function {ns}.save_v1(j {ns}.jobs) returns void language plpgsql as $$
begin
  update {ns}.jobs set (run_at, retention, anchor, finished_at, timeout, hold_window, hold_ttl, attempt, max_attempts,
    state, priority,
      hold_until, raw, cancel_requested, keyless, from_enqueue, kind, queue, key, digest, key_text, worker, behind,
        superseded_by,
      meta, tags, errors, extra, retention_failed)
    = (j.run_at, j.retention, j.anchor, j.finished_at, j.timeout, j.hold_window, j.hold_ttl, j.attempt, j.max_attempts,
      j.state, j.priority,
      j.hold_until, j.raw, j.cancel_requested, j.keyless, j.from_enqueue, j.kind, j.queue, j.key, j.digest, j.key_text,
        j.worker,
      j.behind, j.superseded_by, j.meta, j.tags, j.errors, j.extra, j.retention_failed)
    where id = j.id;
end $$;

-- Writes a job back, with its args.
create or replace function {ns}.save_all_v1(j {ns}.jobs) returns void language plpgsql as $$
begin
  update {ns}.jobs set (run_at, retention, anchor, timeout, hold_window, hold_ttl, max_attempts, priority,
      hold_until, raw, from_enqueue, kind, queue, key, digest, args, key_text, meta, tags, extra, retention_failed)
    = (j.run_at, j.retention, j.anchor, j.timeout, j.hold_window, j.hold_ttl, j.max_attempts, j.priority,
      j.hold_until, j.raw, j.from_enqueue, j.kind, j.queue, j.key, j.digest, j.args, j.key_text, j.meta, j.tags,
      j.extra, j.retention_failed)
    where id = j.id;
end $$;

-- put: keeps the row of a key that is held, and removes it otherwise.
create or replace function {ns}.put_v1(k {ns}.keys, now bigint) returns void language plpgsql as $$
begin
  if k.frees_at is null or now < k.frees_at or k.next is not null then
    update {ns}.keys set (since, frees_at, pending, holder, next, gone) = (k.since, k.frees_at, k.pending, k.holder,
      k.next, k.gone)
      where key = k.key;
  else
    delete from {ns}.keys where key = k.key;
  end if;
end $$;

-- settle: records that a clock took the key from its holder, and so gave it
-- to the waiter.
create or replace function {ns}.settle_v1(inout k {ns}.keys, now bigint) language plpgsql as $$
begin
  if k.next is null or k.frees_at is null or now < k.frees_at then
    return;
  end if;
  k.holder := k.next;
  k.next := null;
  k.since := k.frees_at;
  k.gone := null;
  k.pending := (select {ns}.pending_v1(w.hold_until) from {ns}.jobs w where w.id = k.holder);
  k.frees_at := null;
end $$;

-- letGo: lets a holder go whose run in front has ended: its clocks start.
-- It returns the queue in which it is due now, or null.
create or replace function {ns}.let_go_v1(k {ns}.keys, waiter text, now bigint) returns text language plpgsql as $$
declare
  w {ns}.jobs;
begin
  select {slim y} into w from {ns}.jobs y where y.id = waiter for update; -- the lock of the job in front guards it
  w.behind := null;
  w.run_at := greatest(w.run_at, now);
  w.anchor := {ns}.anchor_v1(w.from_enqueue, w.enqueued_at, w.run_at);
  perform {ns}.save_v1(w);
  k.pending := {ns}.pending_v1(w.hold_until);
  k.frees_at := {ns}.frees_v1(w.hold_until, w.hold_window, w.hold_ttl, w.anchor, w.run_at);
  perform {ns}.put_v1(k, now);
  if w.run_at <= now then
    return w.queue;
  end if;
  return null;
end $$;

-- ended: does to the key what the end of a job does: it is finished (its
-- state says so) or deleted. The caller has locked the job and saves it.
-- wake is the queue in which a waiter became due, or null.
create or replace function {ns}.ended_v1(inout j {ns}.jobs, deleted boolean, now bigint, out wake text)
  language plpgsql as $$
declare
  k {ns}.keys;
  early boolean;
  stood text := j.behind;
begin
  if j.key is null then
    return;
  end if;
  select * into k from {ns}.keys where key = j.key;
  if found then
    if k.holder = j.id and k.gone is null and k.next is null and k.frees_at <= now then
      -- The key is free: another that wants it may be taking it, and is not
      -- waited for.
      delete from {ns}.keys where ctid = (select x.ctid from {ns}.keys x
        where x.key = j.key and x.holder = j.id and x.next is null and x.frees_at <= now for update skip locked);
      k := null;
    else
      k := {ns}.settle_v1(k, now);
    end if;
  end if;
  j.anchor := {ns}.anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at);
  early := j.anchor > now;
  if early then
    j.anchor := now;
  end if;
  if j.behind is not null then -- it was a waiter
    j.behind := null;
    if k.next = j.id then
      k.next := null;
      perform {ns}.put_v1(k, now);
      return;
    end if;
  end if;
  if k.key is null then
    return;
  end if;
  if k.holder <> j.id or k.gone is not null then
    -- a clock had passed the key to the waiter
    if exists (select from {ns}.jobs w where w.id = k.holder and w.key = k.key and w.behind = j.id) then
      wake := {ns}.let_go_v1(k, k.holder, now);
    end if;
    return;
  end if;
  if k.next is not null then
    k.holder := k.next;
    k.next := null;
    k.since := now;
    j.keyless := true;
    wake := {ns}.let_go_v1(k, k.holder, now);
    return;
  elsif k.pending <> {until_came} and (deleted or {ns}.ends_on_v1(k.pending, j.state)) then
    k.pending := {until_came};
    k.frees_at := {ns}.rest_v1(j.hold_window, j.hold_ttl, j.anchor);
  elsif early and k.pending <> {until_came} then
    k.frees_at := {ns}.frees_v1(j.hold_until, j.hold_window, j.hold_ttl, j.anchor, j.run_at);
  elsif early then
    k.frees_at := {ns}.rest_v1(j.hold_window, j.hold_ttl, j.anchor);
  elsif stood is null then
    return; -- unchanged
  end if;
  perform {ns}.put_v1(k, now);
end $$;

-- remove: deletes a row. If the job still holds its key, the key keeps what
-- is known of its holder. pruned says that the retention is over.
create or replace function {ns}.remove_v1(j {ns}.jobs, pruned boolean, now bigint) returns void language plpgsql as $$
declare
  k {ns}.keys;
begin
  delete from {ns}.jobs where id = j.id;
  if j.key is null then
    return;
  end if;
  select * into k from {ns}.keys where key = j.key;
  if not found or k.holder <> j.id or k.gone is not null then
    return;
  elsif k.frees_at <= now and k.next is null then
    delete from {ns}.keys where ctid = (select x.ctid from {ns}.keys x
      where x.key = j.key and x.holder = j.id and x.next is null and x.frees_at <= now for update skip locked);
    return;
  end if;
  if pruned and j.hold_ttl is null and k.pending <> {until_came} then
    k.pending := {until_came};
    k.frees_at := {ns}.rest_v1(j.hold_window, j.hold_ttl, j.anchor);
  end if;
  k.since := coalesce(k.since, j.enqueued_at);
  k.gone := {ns}.gone_v1(j);
  perform {ns}.put_v1(k, now);
end $$;

-- The readable key as it is stored apart from its job, see text.go.
create or replace function {ns}.text_v1(j {ns}.jobs) returns text language plpgsql stable as $$
declare
  text text := replace(replace(j.key_text, E'\x01', 'kind=' || j.kind), E'\x03', 'queue=' || j.queue);
begin
  if right(text, 1) = E'\x02' then
    text := left(text, -1) || E'\x04' || convert_from(j.args, 'UTF8');
  end if;
  return text;
end $$;

create or replace function {ns}.gone_v1(j {ns}.jobs) returns json language sql stable as $$
  select json_build_object('kind', j.kind, 'queue', j.queue, 'text', {ns}.text_v1(j), 'state', j.state, 'digest',
    encode(j.digest, 'hex'))
$$;

-- setRun: changes the run time of a waiting job. Until the first fetch the
-- anchor moves with it; a job that no longer holds its key does not get it
-- back by that. The caller saves the job.
create or replace function {ns}.move_run_v1(inout j {ns}.jobs, new_run_at bigint, now bigint) language plpgsql as $$
declare
  k {ns}.keys;
  was_due boolean := j.run_at <= now;
begin
  j.anchor := {ns}.anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at);
  j.run_at := new_run_at;
  if j.run > 0 or j.key is null then
    return;
  end if;
  select * into k from {ns}.keys where key = j.key;
  if not found or k.holder <> j.id or k.gone is not null or k.frees_at <= now and k.next is null then
    j.keyless := true;
    return;
  end if;
  j.anchor := {ns}.anchor_v1(j.from_enqueue, j.enqueued_at, j.run_at);
  if j.behind is not null then
    return;
  end if;
  if k.pending = {until_due} and was_due then
    k.pending := {until_came};
  end if;
  if k.pending = {until_came} and j.hold_until <> {until_window_ends} then
    k.frees_at := {ns}.rest_v1(j.hold_window, j.hold_ttl, j.anchor);
  else
    k.frees_at := {ns}.frees_v1(j.hold_until, j.hold_window, j.hold_ttl, j.anchor, j.run_at);
  end if;
  perform {ns}.put_v1(k, now);
end $$;

-- What a job that wants the key k is told of it, and the effective holder h:
-- null if its row is gone. c has what the answer says, without number and
-- outcome. Nothing is locked: what was read at several instants is an error
-- (OQ001).
create or replace function {ns}.met_v1(j {ns}.jobs, k {ns}.keys, now bigint, out c {ns}.answer_v1, out h {ns}.jobs)
  language plpgsql as $$
declare
  passed boolean := k.next is not null and coalesce(k.frees_at <= now, false); -- to the waiter
begin
  c.now := now;
  c.c_by := {by_key};
  if k.gone is not null and not passed then
    c.c_holder := k.holder;
    c.c_since := k.since;
    c.c_frees_at := k.frees_at;
    c.c_pending := k.pending;
    c.c_state := (k.gone ->> 'state')::smallint;
    c.c_gone := k.gone;
    return;
  end if;
  c.c_holder := case when passed then k.next else k.holder end;
  select y.* into h from {ns}.jobs y where y.id = c.c_holder and y.key = j.key
    and exists (select from {ns}.keys x
      where (x.key, x.holder, x.pending) = (k.key, k.holder, k.pending)
        and (x.next, x.frees_at) is not distinct from (k.next, k.frees_at)); -- at one instant
  if not found then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
  c.c_since := coalesce(case when passed then k.frees_at else k.since end, h.enqueued_at);
  c.c_frees_at := case when passed then null else k.frees_at end;
  c.c_pending := {ns}.named_v1(case when passed then {ns}.pending_v1(h.hold_until) else k.pending end, h.behind, h.run,
    h.run_at, now);
  c.c_state := {ns}.shown_v1(h.state, h.behind, h.run_at, now);
  c.c_text := {ns}.text_v1(h);
  c.c_differ := case when h.digest <> j.digest then {args_differ} else {args_same} end;
end $$;
