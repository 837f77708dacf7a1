-- An operator's steps.
--
--   change_v2                 a step on jobs: cancel, retry, run now, delete, start, move
--   lock_jobs_v1, locked_v1   lock jobs before a step, and read one
--   cancel_v1, retry_v1       are steps
--   start_by_id_v1, start_v1  start a job for a worker
--   release_v2                frees a key by hand
--
-- The numbers of the steps and of their outcomes are in words.go.

-- A step on jobs, in the order of their IDs. who and no are the worker and
-- the fetch of a start; a move goes to now + delay, or to at. shown limits
-- the step to jobs in one of these states. It returns
--
--   i        the number of the job; or row_of_name: c_holder is a queue to wake
--   outcome  done, not found, or why the step was refused
--   by, c_…  of a retry that was refused: who holds the key; else c_holder is a queue to wake
--   job      as it is now; without args if more than one job is named
create or replace function {ns}.change_v2(patience integer, op integer, ids text[], shown smallint[],
  without_key boolean, who text, no bigint, delay bigint, at bigint)
returns setof {ns}.answer_v1 language plpgsql {hot} as $$
declare
  now bigint;
  j {ns}.jobs;
  c {ns}.answer_v1;
  e record;
  refused integer;
  wake text;
begin
  {guard}
  if patience is not null then -- in a transaction of the caller's it is theirs
    perform set_config('lock_timeout', patience::text, true);
  end if;
  perform {ns}.lock_jobs_v1(ids);
  now := {ns}.clock_v1();
  for i in 1..cardinality(ids) loop
    j := {ns}.locked_v1(ids[i]);
    if j.id is null or shown is not null and {ns}.shown_v1(j.state, j.behind, j.run_at, now) <> all(shown) then
      return query select 0, i, {change_not_found}, now, null::bigint, {conflict_nulls}, null::{ns}.jobs;
      continue;
    end if;
    wake := null;
    refused := case when j.state > {retryable} then {change_not_waiting} when j.behind is not null then {change_behind}
      else {change_done} end; -- a step of a job that waits
    if op = {op_delete} then
      refused := case j.state when {running} then {change_running} else {change_done} end;
    elsif op = {op_cancel} then
      e := {ns}.cancel_v1(j, now);
      j := e.j;
      refused := e.refused;
      wake := e.wake;
    elsif op = {op_start} then
      refused := {ns}.start_by_id_v1(j, refused, who, no, now);
    elsif op in ({op_move}, {op_run_now}) or j.state = {retryable} then
      if refused = {change_done} and (op = {op_move} or j.run_at > now) then
        j := {ns}.move_run_v1(j, case when op <> {op_move} then now when at is null then now + delay
          else greatest(now, at) end, now);
        perform {ns}.save_v1(j);
        wake := j.queue;
      end if;
    elsif j.state < {completed} then -- {op_retry}, and so is the rest
      refused := {change_not_over};
    else
      c := {ns}.retry_v1(j, without_key, now);
      if c.c_by is not null then
        return query select 0, i, {change_key_held}, now, null::bigint, c.c_by, c.c_holder, c.c_state, c.c_since,
          c.c_frees_at, c.c_pending, c.c_text, c.c_differ, c.c_gone, {one y} from {ns}.jobs y where y.id = j.id;
        continue;
      end if;
      refused := {change_done};
      wake := j.queue;
    end if;
    return query select 0, i, refused, now, null::bigint, null::integer, wake, {conflict_nulls_from_state}, {one y}
      from {ns}.jobs y where y.id = j.id;
    if op = {op_delete} and refused = {change_done} then
      e := {ns}.ended_v1(j, true, now);
      perform {ns}.remove_v1(e.j, false, now);
      if e.wake is not null then
        return query select 0, {row_of_name}, {change_done}, now, null::bigint, null::integer, e.wake,
          {conflict_nulls_from_state}, null::{ns}.jobs;
      end if;
    elsif op = {op_cancel} and j.state = {cancelled} and {kept j} = 0 then
      perform {ns}.remove_v1(j, true, now);
    end if;
  end loop;
end $$;

-- Locks jobs: first those that stand behind no other, then those that do.
create or replace function {ns}.lock_jobs_v1(ids text[]) returns void language plpgsql as $$
declare
  wanted text[];
begin
  select array_agg(distinct coalesce(y.behind, y.id)) into wanted from unnest(ids) as q(id)
    cross join lateral (select y.behind, y.id from {ns}.jobs y where y.id = q.id limit 1) y;
  perform from {ns}.jobs y where y.id = any(wanted) order by y.id for update;
  perform from {ns}.jobs y where y.id = any(ids) and y.behind is not null order by y.id for update;
end $$;

-- A job without its args; null if there is none. It is locked already,
-- unless it came or changed meanwhile.
create or replace function {ns}.locked_v1(job_id text) returns {ns}.jobs language plpgsql as $$
declare
  j {ns}.jobs;
begin
  select {slim y} into j from {ns}.jobs y where y.id = job_id;
  if not found then
    return null;
  end if;
  perform from {ns}.jobs y where y.id = coalesce(j.behind, j.id) for update skip locked;
  if not found then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
  select {slim y} into j from {ns}.jobs y where y.id = job_id for update skip locked;
  if not found then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
  return j;
end $$;

-- Cancels a job that waits, and asks one that runs to stop. wake is the
-- queue in which a waiter became due.
create or replace function {ns}.cancel_v1(inout j {ns}.jobs, now bigint, out refused integer, out wake text)
  language plpgsql as $$
declare
  e record;
begin
  refused := {change_done};
  if j.state = {running} then
    update {ns}.jobs y set cancel_requested = true where y.id = j.id and not y.cancel_requested;
  elsif j.state <= {retryable} then
    j.state := {cancelled};
    j.cancel_requested := false;
    j.finished_at := now;
    e := {ns}.ended_v1(j, false, now);
    j := e.j;
    wake := e.wake;
    perform {ns}.save_v1(j);
  elsif j.state <> {cancelled} then
    refused := {change_over};
  end if;
end $$;

-- Starts a job for a worker that names it, unless it is refused. It returns
-- the outcome.
create or replace function {ns}.start_by_id_v1(j {ns}.jobs, refused integer, who text, no bigint, now bigint)
  returns integer language plpgsql as $$
begin
  perform from {ns}.workers w where w.name = who for key share; -- it cannot leave meanwhile
  if not found then
    return {change_no_worker};
  elsif j.state = {running} and j.worker = who and j.fetch_no = no then
    return {change_done}; -- a repeat
  elsif refused <> {change_done} then
    return refused;
  elsif exists (select from {ns}.paused z where z.queue = j.queue and z.until > now) then
    return {change_paused};
  end if;
  if j.run_at > now then
    j := {ns}.move_run_v1(j, now, now);
  end if;
  perform {ns}.start_v1(j, who, no, now);
  return {change_done};
end $$;

-- Makes a finished job due now. It takes its key again; if another job
-- holds that, it answers with what is told of the holder and writes nothing,
-- unless the job may run without its key.
create or replace function {ns}.retry_v1(j {ns}.jobs, without_key boolean, now bigint) returns {ns}.answer_v1
  language plpgsql as $$
declare
  k {ns}.keys;
  e record;
  own boolean;
begin
  if j.key is not null then
    select * into k from {ns}.keys y where y.key = j.key;
    if found and k.frees_at <= now and k.next is null then
      select * into k from {ns}.keys y where y.key = j.key for update;
      if not found or k.frees_at is null or k.frees_at > now or k.next is not null then
        raise exception 'onceq: again' using errcode = 'OQ001';
      end if;
      delete from {ns}.keys y where y.key = j.key;
      k := null;
    end if;
    own := coalesce(k.holder = j.id and k.gone is null and k.next is null, false);
    j.keyless := k.key is not null and not own;
    if j.keyless and not without_key then
      e := {ns}.met_v1(j, k, now);
      return e.c;
    elsif not j.keyless then
      j.anchor := now;
      j.run_at := now;
      k.frees_at := {ns}.frees_v1(j.hold_until, j.hold_window, j.hold_ttl, now, now);
      k.pending := {ns}.pending_v1(j.hold_until);
      if own then
        perform {ns}.put_v1(k, now);
      elsif k.frees_at is null or k.frees_at > now then
        insert into {ns}.keys (since, frees_at, pending, key, holder)
          values (now, k.frees_at, k.pending, j.key, j.id) on conflict (key) do nothing;
        if not found then
          raise exception 'onceq: again' using errcode = 'OQ001';
        end if;
      end if;
    end if;
  end if;
  update {ns}.jobs y set result = null where y.id = j.id and y.result is not null;
  j.state := {scheduled};
  j.run_at := now;
  j.max_attempts := greatest(j.max_attempts, coalesce(j.attempt, 0) + 1);
  j.finished_at := null;
  j.worker := null;
  j.superseded_by := null;
  j.cancel_requested := false;
  perform {ns}.save_v1(j);
  return null;
end $$;

-- start: gives a waiting job to a worker, as fetch_v2 does it to many.
create or replace function {ns}.start_v1(j {ns}.jobs, who text, no bigint, now bigint) returns void
  language plpgsql as $$
declare
  rest bigint := {ns}.rest_v1(j.hold_window, j.hold_ttl,
    {ns}.anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at));
begin
  update {ns}.jobs y set state = {running}, attempt = coalesce(y.attempt, 0) + 1, run = coalesce(y.run, 0) + 1,
    run_at = j.run_at, keyless = j.keyless,
    anchor = {ns}.anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at),
    started_at = now, worker = who, fetch_no = no
  where y.id = j.id;
  if j.hold_until = {until_started} and rest > now then -- the first fetch is the event
    update {ns}.keys k set pending = {until_came}, frees_at = rest
    where k.key = j.key and k.holder = j.id and k.pending = {until_started} and k.gone is null
      and (k.frees_at is null or k.frees_at > now);
  elsif j.hold_until = {until_started} then
    delete from {ns}.keys k where k.key = j.key and k.holder = j.id and k.pending = {until_started}
      and k.gone is null;
  end if;
end $$;

-- Frees a key by hand; with of_holder only if that job holds it. The outcome
-- is done; not found: it is free or another's; or behind: it is refused,
-- because its holder stands behind a run.
create or replace function {ns}.release_v2(patience integer, name bytea, of_holder text)
  returns table (outcome integer, holder text, behind text) language plpgsql {hot} as $$
#variable_conflict use_column
declare
  now bigint;
  k {ns}.keys;
  h {ns}.jobs;
begin
  {guard}
  perform set_config('lock_timeout', patience::text, true);
  perform from {ns}.jobs y where y.id in (
    select coalesce(z.behind, z.id) from {ns}.keys k
    cross join lateral (values (k.holder), (k.next)) v(id)
    cross join lateral (select z.id, z.behind from {ns}.jobs z where z.id = v.id limit 1) z
    where k.key = name) order by y.id for update;
  now := {ns}.clock_v1();
  select * into k from {ns}.keys y where y.key = name;
  if not found or k.frees_at <= now and k.next is null then
    return query select {release_not_found}, null::text, null::text;
    return;
  end if;
  if k.gone is null then
    select {slim y} into h from {ns}.jobs y where y.id = k.holder for update skip locked;
    if not found then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
  end if;
  select * into k from {ns}.keys y where y.key = name for update;
  if not found or k.gone is null and k.holder is distinct from h.id then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
  k := {ns}.settle_v1(k, now);
  if k.holder <> of_holder then
    return query select {release_not_found}, null::text, null::text;
    return;
  end if;
  if k.gone is null then
    select {slim y} into h from {ns}.jobs y where y.id = k.holder;
    if h.behind is not null then
      return query select {release_behind}, h.id, h.behind;
      return;
    end if;
    update {ns}.jobs y set keyless = true where y.id = h.id;
  end if;
  if k.next is null then
    delete from {ns}.keys y where y.key = name;
  else
    k.pending := (select {ns}.pending_v1(w.hold_until) from {ns}.jobs w where w.id = k.next);
    k.holder := k.next;
    k.next := null;
    k.since := now;
    k.gone := null;
    k.frees_at := null;
    perform {ns}.put_v1(k, now);
  end if;
  return query select {release_done}, null::text, null::text;
end $$;
