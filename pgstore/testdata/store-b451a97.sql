--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: made_by_b451a97; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA made_by_b451a97;
SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: jobs; Type: TABLE; Schema: made_by_b451a97; Owner: -
--

CREATE TABLE made_by_b451a97.jobs (
    enqueued_at bigint NOT NULL,
    run_at bigint NOT NULL,
    retention bigint,
    run bigint,
    anchor bigint,
    started_at bigint,
    finished_at bigint,
    fetch_no bigint,
    timeout bigint,
    hold_window bigint,
    hold_ttl bigint,
    attempt integer,
    max_attempts integer NOT NULL,
    state smallint NOT NULL,
    priority smallint NOT NULL,
    hold_until smallint,
    origin smallint,
    raw boolean NOT NULL,
    cancel_requested boolean NOT NULL,
    keyless boolean NOT NULL,
    from_enqueue boolean,
    id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL,
    queue text NOT NULL COLLATE pg_catalog."C",
    key bytea,
    nonce bytea NOT NULL,
    digest bytea,
    args bytea NOT NULL,
    key_text text,
    worker text COLLATE pg_catalog."C",
    behind text COLLATE pg_catalog."C",
    displaced text,
    superseded_by text,
    meta json,
    tags json,
    errors json,
    result bytea,
    trace text
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');
ALTER TABLE ONLY made_by_b451a97.jobs ALTER COLUMN key SET STORAGE PLAIN;
ALTER TABLE ONLY made_by_b451a97.jobs ALTER COLUMN nonce SET STORAGE PLAIN;
ALTER TABLE ONLY made_by_b451a97.jobs ALTER COLUMN digest SET STORAGE PLAIN;
--
-- Name: answer_v1; Type: TYPE; Schema: made_by_b451a97; Owner: -
--

CREATE TYPE made_by_b451a97.answer_v1 AS (
	try integer,
	i integer,
	outcome integer,
	now bigint,
	frees_at bigint,
	c_by integer,
	c_holder text,
	c_state smallint,
	c_since bigint,
	c_frees_at bigint,
	c_pending smallint,
	c_text text,
	c_differ integer,
	c_gone json,
	job made_by_b451a97.jobs
);
--
-- Name: found_v1; Type: TYPE; Schema: made_by_b451a97; Owner: -
--

CREATE TYPE made_by_b451a97.found_v1 AS (
	i integer,
	now bigint,
	since bigint,
	frees_at bigint,
	pending smallint,
	holder text,
	gone json,
	job made_by_b451a97.jobs
);
--
-- Name: job_v1; Type: TYPE; Schema: made_by_b451a97; Owner: -
--

CREATE TYPE made_by_b451a97.job_v1 AS (
	now bigint,
	n bigint,
	job made_by_b451a97.jobs
);
--
-- Name: swept_v1; Type: TYPE; Schema: made_by_b451a97; Owner: -
--

CREATE TYPE made_by_b451a97.swept_v1 AS (
	what integer,
	name text,
	now bigint,
	n bigint,
	job made_by_b451a97.jobs
);
--
-- Name: act_v1(integer, text[], bytea[], text[], text[], bytea[], text[], text[], bytea[], text[], bytea[], bigint[], text, text); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.act_v1(patience integer, ids text[], nonces bytea[], kinds text[], queues text[], args bytea[], metas text[], tags text[], keys bytea[], texts text[], digests bytea[], nums bigint[], channel text, payload text) RETURNS SETOF made_by_b451a97.answer_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
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
  j "made_by_b451a97".jobs;           -- the new job
  h "made_by_b451a97".jobs;           -- the effective holder
  w "made_by_b451a97".jobs;           -- the waiter behind it
  k "made_by_b451a97".keys;
  c "made_by_b451a97".answer_v1;      -- the conflict
  snapshot boolean := current_setting('transaction_isolation') not in ('read committed', 'read uncommitted');
begin
  if patience is not null then
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception
      'onceq: this ran above READ COMMITTED: alter role % set default_transaction_isolation = ''read committed'';',
      quote_ident(current_user)
      using errcode = 'OQ002';
  end if;
    perform set_config('lock_timeout', patience::text, true);
  end if;
  select array_agg(distinct keys[q]) into writing from generate_series(1, n) q
    cross join lateral (select nums[q * 14 - 2] as reactions) y
    where keys[q] <> '' and y.reactions & 28086 <> 0; -- some reaction is more than 1
  for try in 1..100 loop
    begin
      if writing is not null then
        select array_agg(x order by x) into wanted from (
          select distinct coalesce(y.behind, y.id) as x
          from unnest(writing) q cross join lateral (select z.holder, z.next from "made_by_b451a97".keys z where z.key = q limit 1) z
            cross join lateral (values (z.holder), (z.next)) v(id)
            cross join lateral (select y.id, y.behind from "made_by_b451a97".jobs y where y.id = v.id limit 1) y) s;
        perform from "made_by_b451a97".jobs y where y.id = any(wanted) order by y.id for update;
        select array_agg(x order by x) into wanted from (
          select distinct y.id as x
          from unnest(writing) q cross join lateral (select z.holder, z.next from "made_by_b451a97".keys z where z.key = q limit 1) z
            cross join lateral (values (z.holder), (z.next)) v(id)
            cross join lateral (select y.id from "made_by_b451a97".jobs y where y.id = v.id and y.behind is not null limit 1) y) s;
        perform from "made_by_b451a97".jobs y where y.id = any(wanted) order by y.id for update;
      end if;
      now := "made_by_b451a97".clock_v1();
      filled := '{}';
      halted := '{}';
      for i in 1..n loop
        due := greatest(now, case when nums[i * 14 - 8] <> 0 then nums[i * 14 - 8] else now + nums[i * 14 - 9] end);

        -- 1. The ID exists.
        select * into h from "made_by_b451a97".jobs where id = ids[i];
        if found then
          if h.nonce = nonces[i] then -- this call was sent twice
            select coalesce(x.frees_at, 9223372036854775807) into frees from "made_by_b451a97".keys x
              where h.origin is null and x.key = h.key and x.holder = h.id
              and (x.frees_at is null or x.frees_at > now);
            return query select try, i, coalesce(h.origin, 0::smallint)::integer, now, frees,
              case when h.origin <> 0 then 1 end, case when h.origin <> 0 then h.displaced end,
              coalesce("made_by_b451a97".shown_v1(o.state, o.behind, o.run_at, now), -1::smallint),
                coalesce(o.enqueued_at, h.enqueued_at), null::bigint, 0::smallint, "made_by_b451a97".text_v1(h),
              case when o.id is not null and o.digest is distinct from h.digest then 2 else 1 end, null::json, h
              from (select) as one left join "made_by_b451a97".jobs o on o.id = h.displaced and h.origin <> 0;
          else
            return query select try, i, case when h.kind <> kinds[i] or nums[i * 14 - 2] & 7 = 1 then 2 else 1 end, now,
              null::bigint,
              2, h.id, "made_by_b451a97".shown_v1(h.state, h.behind, h.run_at, now), h.enqueued_at, null::bigint, null::smallint,
                null::text, null::integer, null::json, h;
          end if;
          continue;
        end if;

        j := null;
        j.enqueued_at := now;
        j.run_at := due;
        j.state := 0;
        j.cancel_requested := false;
        j.keyless := false;
        j.id := ids[i];
        j.nonce := nonces[i];
        j := "made_by_b451a97".options_v1(j, i, kinds, queues, args, metas, tags, keys, texts, digests, nums);
        if j.key is not null then
          j.anchor := "made_by_b451a97".anchor_v1(j.from_enqueue, now, due);
        end if;
        frees := null;
        held := false;

        -- 2. No claim, or its key is free.
        if j.key is not null then
          select * into k from "made_by_b451a97".keys where key = j.key;
          spent := found and coalesce(k.frees_at <= now, false) and k.next is null;
          if spent then
            select * into k from "made_by_b451a97".keys where key = j.key for update; -- keeps out others that want it too
            if not found or k.frees_at is null or k.frees_at > now or k.next is not null then
              raise exception 'onceq: again' using errcode = 'OQ001';
            end if;
          end if;
          if spent or k.key is null then
            frees := "made_by_b451a97".frees_v1(j.hold_until, j.hold_window, j.hold_ttl, j.anchor, due);
            if frees <= now then -- it would hold for no time
              delete from "made_by_b451a97".keys where spent and key = j.key;
            elsif spent then
              update "made_by_b451a97".keys set (since, frees_at, pending, holder, gone) = (null, frees,
                "made_by_b451a97".pending_v1(j.hold_until), j.id, null) where key = j.key;
            else
              insert into "made_by_b451a97".keys (frees_at, pending, key, holder)
                values (frees, "made_by_b451a97".pending_v1(j.hold_until), j.key, j.id)
                on conflict (key) do nothing;
              -- another has it, or has released it after a while
              if not found or try <= 3 and "made_by_b451a97".clock_v1() > now + 5 then
                raise exception 'onceq: again' using errcode = 'OQ001';
              end if;
            end if;
            held := coalesce(frees > now, true);
            k := null;
          end if;
        end if;
        if j.key is null or k.key is null then
          j.anchor := null; -- it follows from the other columns
          insert into "made_by_b451a97".jobs select (j).* on conflict (id) do nothing;
          if not found then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          filled := filled || j.queue;
          return query select try, i, 0, now, case when held then coalesce(frees, 9223372036854775807) end,
            null::integer, null::text, null::smallint, null::bigint, null::bigint, null::smallint, null::text, null::integer, null::json, x from "made_by_b451a97".jobs x where x.id = j.id;
          continue;
        end if;

        -- 3. The key is held. The answer is how it was before this row.
        if snapshot then
          -- if the snapshot is out of date, this fails as a serialization failure
          perform from "made_by_b451a97".keys where key = j.key for share;
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
          select y.* into h from "made_by_b451a97".jobs y where y.id = c.c_holder and y.key = j.key
            and exists (select from "made_by_b451a97".keys x
              -- at one instant
              where (x.key, x.holder, x.pending) = (k.key, k.holder, k.pending) and (x.next, x.frees_at) is not distinct
                from (k.next, k.frees_at));
          if not found then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          c.c_since := coalesce(c.c_since, h.enqueued_at);
          if c.c_holder = k.next then
            c.c_pending := "made_by_b451a97".pending_v1(h.hold_until);
          end if;
          c.c_pending := "made_by_b451a97".named_v1(c.c_pending, h.behind, h.run, h.run_at, now);
          c.c_state := "made_by_b451a97".shown_v1(h.state, h.behind, h.run_at, now);
          c.c_text := "made_by_b451a97".text_v1(h);
          c.c_differ := case when h.digest <> j.digest then 2 else 1 end;
          action := "made_by_b451a97".reaction_v1(nums[i * 14 - 2], c.c_state);
        else
          c.c_state := (k.gone ->> 'state')::smallint;
          c.c_gone := k.gone;
          action := (nums[i * 14 - 2] >> 12) & 7;
        end if;
        outcome := 3;
        stands := h.id;
        if action > 1 then
          -- These are locked already, unless the holder has changed: then
          -- the locks are the wrong ones.
          perform from "made_by_b451a97".jobs where id = coalesce(h.behind, h.id) for update skip locked;
          if not found then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          select * into h from "made_by_b451a97".jobs where id = h.id and key = j.key for update skip locked;
          if not found or "made_by_b451a97".shown_v1(h.state, h.behind, h.run_at, now) <> c.c_state then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          select * into k from "made_by_b451a97".keys where key = j.key for update skip locked;
          if not found then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          settled := k.next is not null and coalesce(k.frees_at <= now, false);
          k := "made_by_b451a97".settle_v1(k, now);
          if settled then
            perform "made_by_b451a97".put_v1(k, now);
          end if;
          if k.holder <> h.id then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          w := null;
          if k.next is not null then
            select * into w from "made_by_b451a97".jobs where id = k.next for update skip locked;
            if not found then
              raise exception 'onceq: again' using errcode = 'OQ001';
            end if;
          end if;
        end if;

        if action <= 1 then
          outcome := action + 1;
        elsif action = 2 then -- write
          h := "made_by_b451a97".write_v1(h, nums[i * 14 - 1], j);
          if nums[i * 14 - 1] & 8 <> 0 then
            h := "made_by_b451a97".move_run_v1(h, due, now);
          end if;
          perform "made_by_b451a97".save_all_v1(h);
        elsif action = 3 then -- push back
          h := "made_by_b451a97".write_v1(h, 1, j);
          h := "made_by_b451a97".move_run_v1(h, greatest(now, least(due, h.enqueued_at + nums[i * 14 - 0])), now);
          perform "made_by_b451a97".save_all_v1(h);
        elsif action in (4, 5) and (w.id is not null or h.behind is not null) then -- to the waiter
          if w.id is null then
            w := h;
          end if;
          stands := w.id;
          w := "made_by_b451a97".options_v1(w, i, kinds, queues, args, metas, tags, keys, texts, digests, nums);
          w.run_at := least(w.run_at, due);
          w.anchor := "made_by_b451a97".anchor_v1(w.from_enqueue, w.enqueued_at, w.run_at);
          perform "made_by_b451a97".save_all_v1(w);
        elsif action = 4 then -- merge
          h := "made_by_b451a97".write_v1(h, 1, j);
          if due < h.run_at and h.state <> 1 then
            h := "made_by_b451a97".move_run_v1(h, due, now);
          end if;
          perform "made_by_b451a97".save_all_v1(h);
        elsif action = 5 then -- stand behind
          outcome := 4;
          stands := j.id;
          j.origin := 4;
          j.behind := h.id;
          j.displaced := h.id;
          k.next := j.id;
          perform "made_by_b451a97".put_v1(k, now);
        else -- take
          outcome := 5;
          stands := j.id;
          j.origin := 5;
          j.displaced := h.id;
          if w.id is not null then
            perform "made_by_b451a97".stop_v1(w, j.id, now);
            k.next := null;
          end if;
          if h.state = 2 then
            update "made_by_b451a97".jobs set cancel_requested = true, superseded_by = j.id where id = h.id;
            halted := halted || h.worker;
            j.behind := h.id;
            k.next := j.id;
            perform "made_by_b451a97".put_v1(k, now);
          else
            j.behind := h.behind;
            perform "made_by_b451a97".stop_v1(h, j.id, now);
            k.holder := j.id;
            k.since := null;
            k.gone := null;
            k.pending := "made_by_b451a97".pending_v1(j.hold_until);
            k.frees_at := case when j.behind is null
              then "made_by_b451a97".frees_v1(j.hold_until, j.hold_window, j.hold_ttl, j.anchor, j.run_at) end;
            perform "made_by_b451a97".put_v1(k, now);
          end if;
        end if;
        if outcome > 3 then
          j.anchor := null;
          insert into "made_by_b451a97".jobs select (j).* on conflict (id) do nothing;
          if not found then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          if j.behind is null then
            filled := filled || j.queue;
          end if;
        elsif action in (2, 3, 4) and h.behind is null and h.run_at <= now then
          filled := filled || h.queue;
        end if;
        if action <= 1 then -- the holder is not locked and may be gone: answer what was read above
          return query select try, i, outcome, now, null::bigint, 1, c.c_holder, c.c_state, c.c_since, c.c_frees_at,
            c.c_pending, c.c_text, c.c_differ, c.c_gone, h;
        else
          return query select try, i, outcome, now, null::bigint, 1, c.c_holder, c.c_state, c.c_since, c.c_frees_at,
            c.c_pending, c.c_text, c.c_differ, c.c_gone, x
            from "made_by_b451a97".jobs x where x.id = stands;
        end if;
      end loop;
      if channel is not null then
        perform pg_notify(channel, rtrim(payload) || ' ' || q) from (select distinct unnest(filled) as q) x;
        perform pg_notify(channel, rtrim(payload) || '! ' || q) from (select distinct unnest(halted) as q) x;
      end if;
      return query select try, -1, 0, now, null::bigint, null::integer, q, null::smallint, null::bigint, null::bigint, null::smallint, null::text, null::integer, null::json, null::"made_by_b451a97".jobs
        from (select distinct unnest(halted) as q) x;
      return query select try, 0, 0, now, null::bigint, null::integer, null::text, null::smallint, null::bigint, null::bigint, null::smallint, null::text, null::integer, null::json, null::"made_by_b451a97".jobs;
      return;
    exception when sqlstate 'OQ001' then
      null; -- releases all locks of this try
    end;
  end loop;
  raise exception 'onceq: the jobs that were met changed 100 times in a row' using errcode = 'serialization_failure';
end $$;
--
-- Name: anchor_of_v1(bigint, bytea, boolean, bigint, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.anchor_of_v1(anchor bigint, key bytea, from_enqueue boolean, enqueued_at bigint, run_at bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case when anchor is not null or key is null then anchor when from_enqueue then enqueued_at
    else greatest(enqueued_at, run_at) end
$$;
--
-- Name: anchor_v1(boolean, bigint, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.anchor_v1(from_enqueue boolean, enqueued_at bigint, run_at bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case when from_enqueue then enqueued_at else greatest(enqueued_at, run_at) end
$$;
--
-- Name: change_v1(integer, integer, text[], smallint[], boolean); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.change_v1(patience integer, op integer, ids text[], shown smallint[], without_key boolean) RETURNS SETOF made_by_b451a97.answer_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return query select * from "made_by_b451a97".change_v2(patience, op, ids, shown, without_key, null, null, null, null);
end $$;
--
-- Name: change_v2(integer, integer, text[], smallint[], boolean, text, bigint, bigint, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.change_v2(patience integer, op integer, ids text[], shown smallint[], without_key boolean, who text, no bigint, delay bigint, at bigint) RETURNS SETOF made_by_b451a97.answer_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
declare
  now bigint;
  i integer;
  wanted text[];
  j "made_by_b451a97".jobs;
  before "made_by_b451a97".jobs;
  h "made_by_b451a97".jobs;
  k "made_by_b451a97".keys;
  c "made_by_b451a97".answer_v1;
  e record;
  refused integer;
  own boolean;
  held_by text;
  wake text;
  state smallint;
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception
      'onceq: this ran above READ COMMITTED: alter role % set default_transaction_isolation = ''read committed'';',
      quote_ident(current_user)
      using errcode = 'OQ002';
  end if;
  if patience is not null then -- in a transaction of the caller's it is theirs
    perform set_config('lock_timeout', patience::text, true);
  end if;
  -- First the jobs that stand behind no other, then those that do.
  select array_agg(distinct coalesce(y.behind, y.id)) into wanted from unnest(ids) as q(id)
    cross join lateral (select y.behind, y.id from "made_by_b451a97".jobs y where y.id = q.id limit 1) y;
  perform from "made_by_b451a97".jobs y where y.id = any(wanted) order by y.id for update;
  perform from "made_by_b451a97".jobs y where y.id = any(ids) and y.behind is not null order by y.id for update;
  now := "made_by_b451a97".clock_v1();
  for i in 1..cardinality(ids) loop
    select y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace into j from "made_by_b451a97".jobs y where y.id = ids[i];
    if not found then
      return query select 0, i, 1, now, null::bigint, null::integer, null::text, null::smallint, null::bigint, null::bigint, null::smallint, null::text, null::integer, null::json, null::"made_by_b451a97".jobs;
      continue;
    end if;
    -- Locked already, unless it came or changed meanwhile.
    perform from "made_by_b451a97".jobs y where y.id = coalesce(j.behind, j.id) for update skip locked;
    if not found then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
    select y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace into j from "made_by_b451a97".jobs y where y.id = ids[i] for update skip locked;
    if not found then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
    if shown is not null and "made_by_b451a97".shown_v1(j.state, j.behind, j.run_at, now) <> all(shown) then
      return query select 0, i, 1, now, null::bigint, null::integer, null::text, null::smallint, null::bigint, null::bigint, null::smallint, null::text, null::integer, null::json, null::"made_by_b451a97".jobs;
      continue;
    end if;
    before := j;
    refused := 0;
    wake := null;
    c := null;
    if op = 4 then -- delete
      if j.state = 2 then
        refused := 7;
      else
        return query select 0, i, 0, now, null::bigint, null::integer, null::text, null::smallint, null::bigint, null::bigint, null::smallint, null::text, null::integer, null::json, case when cardinality(ids) > 1 then row(y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace)::"made_by_b451a97".jobs else y end from "made_by_b451a97".jobs y where y.id = j.id;
        select * into e from "made_by_b451a97".ended_v1(j, true, now);
        perform "made_by_b451a97".remove_v1(e.j, false, now);
        if e.wake is not null then
          return query select 0, -1, 0, now, null::bigint, null::integer, e.wake, null::smallint, null::bigint, null::bigint, null::smallint, null::text, null::integer, null::json,
            null::"made_by_b451a97".jobs;
        end if;
        continue;
      end if;
    elsif op = 1 then -- cancel
      if j.state = 2 then
        update "made_by_b451a97".jobs y set cancel_requested = true where y.id = j.id and not y.cancel_requested;
      elsif j.state = 5 then
        null;
      elsif j.state >= 3 then
        refused := 2;
      else
        j.state := 5;
        j.cancel_requested := false;
        j.finished_at := now;
        select * into e from "made_by_b451a97".ended_v1(j, false, now);
        j := e.j;
        wake := e.wake;
        perform "made_by_b451a97".save_v1(j);
        return query select 0, i, 0, now, null::bigint, null::integer, wake, null::smallint, null::bigint, null::bigint, null::smallint, null::text, null::integer, null::json,
          case when cardinality(ids) > 1 then row(y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace)::"made_by_b451a97".jobs else y end from "made_by_b451a97".jobs y where y.id = j.id;
        if j.retention = 0 then
          perform "made_by_b451a97".remove_v1(j, true, now);
        end if;
        continue;
      end if;
    elsif op = 5 then -- start
      perform from "made_by_b451a97".workers w where w.name = who for key share; -- it cannot leave meanwhile
      if not found then
        refused := 9;
      elsif j.state = 2 and j.worker = who and j.fetch_no = no then
        null; -- a repeat
      elsif j.state > 1 then
        refused := 3;
      elsif j.behind is not null then
        refused := 4;
      elsif exists (select from "made_by_b451a97".paused z where z.queue = j.queue) then
        refused := 10;
      else
        if j.run_at > now then
          j := "made_by_b451a97".move_run_v1(j, now, now);
        end if;
        perform "made_by_b451a97".start_v1(j, who, no, now);
      end if;
    elsif op = 6 then -- move
      if j.state > 1 then
        refused := 3;
      elsif j.behind is not null then
        refused := 4;
      else
        j := "made_by_b451a97".move_run_v1(j, case when at is null then now + delay else greatest(now, at) end, now);
        perform "made_by_b451a97".save_v1(j);
        wake := j.queue;
      end if;
    elsif op = 3 or j.state = 1 then -- run now
      if j.state > 1 then
        refused := 3;
      elsif j.behind is not null then
        refused := 4;
      elsif j.run_at > now then
        j := "made_by_b451a97".move_run_v1(j, now, now);
        perform "made_by_b451a97".save_v1(j);
        wake := j.queue;
      end if;
    elsif j.state < 3 then -- retry
      refused := 5;
    else
      if j.key is not null then
        select * into k from "made_by_b451a97".keys y where y.key = j.key;
        if found and k.frees_at <= now and k.next is null then
          select * into k from "made_by_b451a97".keys y where y.key = j.key for update;
          if not found or k.frees_at is null or k.frees_at > now or k.next is not null then
            raise exception 'onceq: again' using errcode = 'OQ001';
          end if;
          delete from "made_by_b451a97".keys y where y.key = j.key;
          k := null;
        end if;
        own := coalesce(k.holder = j.id and k.gone is null and k.next is null, false);
        if k.key is not null and not own and not without_key then
          c.c_holder := k.holder;
          c.c_since := k.since;
          c.c_frees_at := k.frees_at;
          c.c_pending := k.pending;
          held_by := k.holder;
          if k.next is not null and k.frees_at <= now then
            c.c_holder := k.next;
            c.c_since := k.frees_at;
            c.c_frees_at := null;
            k.gone := null;
          end if;
          if k.gone is null then
            select y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace into h from "made_by_b451a97".jobs y where y.id = c.c_holder and y.key = j.key
              -- at one instant
              and exists (select from "made_by_b451a97".keys x where (x.key, x.holder, x.pending) = (j.key, held_by, k.pending));
            if not found then
              raise exception 'onceq: again' using errcode = 'OQ001';
            end if;
            if c.c_holder = k.next then
              c.c_pending := "made_by_b451a97".pending_v1(h.hold_until);
            end if;
            c.c_pending := "made_by_b451a97".named_v1(c.c_pending, h.behind, h.run, h.run_at, now);
            c.c_state := "made_by_b451a97".shown_v1(h.state, h.behind, h.run_at, now);
            c.c_text := "made_by_b451a97".text_v1(h);
            c.c_since := coalesce(c.c_since, h.enqueued_at);
            c.c_differ := case when h.digest <> j.digest then 2 else 1 end;
          else
            c.c_state := (k.gone ->> 'state')::smallint;
            c.c_gone := k.gone;
          end if;
          return query select 0, i, 8, now, null::bigint, 1, c.c_holder, c.c_state, c.c_since, c.c_frees_at,
            c.c_pending, c.c_text, c.c_differ, c.c_gone,
            case when cardinality(ids) > 1 then row(y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace)::"made_by_b451a97".jobs else y end from "made_by_b451a97".jobs y where y.id = j.id;
          continue;
        elsif k.key is not null and not own then
          j.keyless := true;
        else
          j.keyless := false;
          j.anchor := now;
          j.run_at := now;
          k.frees_at := "made_by_b451a97".frees_v1(j.hold_until, j.hold_window, j.hold_ttl, now, now);
          k.pending := "made_by_b451a97".pending_v1(j.hold_until);
          if own then
            perform "made_by_b451a97".put_v1(k, now);
          elsif k.frees_at is null or k.frees_at > now then
            insert into "made_by_b451a97".keys (since, frees_at, pending, key, holder)
              values (now, k.frees_at, k.pending, j.key, j.id) on conflict (key) do nothing;
            if not found then
              raise exception 'onceq: again' using errcode = 'OQ001';
            end if;
          end if;
        end if;
      end if;
      update "made_by_b451a97".jobs y set result = null where y.id = j.id and y.result is not null;
      j.state := 0;
      j.run_at := now;
      j.max_attempts := greatest(j.max_attempts, coalesce(j.attempt, 0) + 1);
      j.finished_at := null;
      j.worker := null;
      j.superseded_by := null;
      j.cancel_requested := false;
      perform "made_by_b451a97".save_v1(j);
      wake := j.queue;
    end if;
    return query select 0, i, refused, now, null::bigint, null::integer, wake, null::smallint, null::bigint, null::bigint, null::smallint, null::text, null::integer, null::json, case when cardinality(ids) > 1 then row(y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace)::"made_by_b451a97".jobs else y end
      from "made_by_b451a97".jobs y where y.id = j.id;
  end loop;
end $$;
--
-- Name: clock_v1(); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.clock_v1() RETURNS bigint
    LANGUAGE sql
    AS $$
  select floor(date_part('epoch', clock_timestamp()) * 1000)::bigint
$$;
--
-- Name: ended_v1(made_by_b451a97.jobs, boolean, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.ended_v1(INOUT j made_by_b451a97.jobs, deleted boolean, now bigint, OUT wake text) RETURNS record
    LANGUAGE plpgsql
    AS $$
declare
  k "made_by_b451a97".keys;
  early boolean;
  stood text := j.behind;
begin
  if j.key is null then
    return;
  end if;
  select * into k from "made_by_b451a97".keys where key = j.key;
  if found then
    if k.holder = j.id and k.gone is null and k.next is null and k.frees_at <= now then
      -- The key is free: another that wants it may be taking it, and is not
      -- waited for.
      delete from "made_by_b451a97".keys where ctid = (select x.ctid from "made_by_b451a97".keys x
        where x.key = j.key and x.holder = j.id and x.next is null and x.frees_at <= now for update skip locked);
      k := null;
    else
      k := "made_by_b451a97".settle_v1(k, now);
    end if;
  end if;
  j.anchor := "made_by_b451a97".anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at);
  early := j.anchor > now;
  if early then
    j.anchor := now;
  end if;
  if j.behind is not null then -- it was a waiter
    j.behind := null;
    if k.next = j.id then
      k.next := null;
      perform "made_by_b451a97".put_v1(k, now);
      return;
    end if;
  end if;
  if k.key is null then
    return;
  end if;
  if k.holder <> j.id or k.gone is not null then
    -- a clock had passed the key to the waiter
    if exists (select from "made_by_b451a97".jobs w where w.id = k.holder and w.key = k.key and w.behind = j.id) then
      wake := "made_by_b451a97".let_go_v1(k, k.holder, now);
    end if;
    return;
  end if;
  if k.next is not null then
    k.holder := k.next;
    k.next := null;
    k.since := now;
    j.keyless := true;
    wake := "made_by_b451a97".let_go_v1(k, k.holder, now);
    return;
  elsif k.pending <> 0 and (deleted or "made_by_b451a97".ends_on_v1(k.pending, j.state)) then
    k.pending := 0;
    k.frees_at := "made_by_b451a97".rest_v1(j.hold_window, j.hold_ttl, j.anchor);
  elsif early and k.pending <> 0 then
    k.frees_at := "made_by_b451a97".frees_v1(j.hold_until, j.hold_window, j.hold_ttl, j.anchor, j.run_at);
  elsif early then
    k.frees_at := "made_by_b451a97".rest_v1(j.hold_window, j.hold_ttl, j.anchor);
  elsif stood is null then
    return; -- unchanged
  end if;
  perform "made_by_b451a97".put_v1(k, now);
end $$;
--
-- Name: ends_on_v1(smallint, smallint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.ends_on_v1(hold_until smallint, state smallint) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case when hold_until in (1, 2, 3) then state >= 3
    when hold_until = 4 then state = 3
    when hold_until = 5 then state in (4, 5) else false end
$$;
--
-- Name: errors_v1(json, integer, bigint, bigint, text); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.errors_v1(old json, attempt integer, run bigint, now bigint, failure text) RETURNS json
    LANGUAGE sql IMMUTABLE
    AS $$
  select ('[' || coalesce((
      select string_agg(x.value::text, ',' order by x.n) || ','
      from (select value, n from json_array_elements(old) with ordinality as y(value, n) order by n desc limit 4) x),
        '')
    || '{"attempt":' || attempt || ',"run":' || run || ',"at":' || now || ',' || failure || '}]')::json
$$;
--
-- Name: extend_v1(text, bigint, text[], bigint[], bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.extend_v1(worker text, lease bigint, ids text[], runs bigint[], fetches_done bigint) RETURNS TABLE(what integer, i integer, wake text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return query select * from "made_by_b451a97".extend_v2(worker, lease, ids, runs, fetches_done, null);
end $$;
--
-- Name: extend_v2(text, bigint, text[], bigint[], bigint, bytea); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.extend_v2(worker text, lease bigint, ids text[], runs bigint[], fetches_done bigint, about bytea) RETURNS TABLE(what integer, i integer, wake text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  now bigint := "made_by_b451a97".clock_v1();
  back text[];
  back_runs bigint[];
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception
      'onceq: this ran above READ COMMITTED: alter role % set default_transaction_isolation = ''read committed'';',
      quote_ident(current_user)
      using errcode = 'OQ002';
  end if;
  if lease = 0 then
    -- A fetch that is starting jobs is waited for, so that they are seen below: see fetch_v2.
    perform pg_advisory_xact_lock("made_by_b451a97".worker_lock_v2(worker));
  end if;
  return query
  select case when y.id is null then 1 else 2 end, x.i, null::text
  from generate_series(1, cardinality(ids)) as x(i)
  left join lateral (select y.id, y.cancel_requested from "made_by_b451a97".jobs y
    where y.id = ids[x.i] and y.state between 2 and 2 and y.run = runs[x.i]
      and y.worker = extend_v2.worker
      limit 1) y on true
  where y.id is null or y.cancel_requested
  order by x.i;
  select array_agg(y.id order by y.id), array_agg(y.run order by y.id) into back, back_runs
  from "made_by_b451a97".jobs y
  where y.state = 2 and y.worker = extend_v2.worker and y.fetch_no <=
    case when lease = 0 then 9223372036854775807
    else fetches_done end
    and (lease = 0 or (y.id, y.run) not in (select * from unnest(ids, runs)));
  if back is not null then
    return query
    select case f.status when 0 then 3 else 4 end, 0, f.wake
      from "made_by_b451a97".finish_v2(null, '', true, '{}', '{}', back, back_runs,
      array_fill(0::smallint, array[cardinality(back)]), array_fill(0::bigint, array[cardinality(back)]),
        array_fill(true, array[cardinality(back)]), null, null) f
    where f.status in (0, 4);
  end if;
  if lease = 0 then
    delete from "made_by_b451a97".workers w where w.name = extend_v2.worker;
  else
    insert into "made_by_b451a97".workers as w (name, lease_ends, beat, since, beat_at, about)
      values (extend_v2.worker, now + lease, 1, now, now, extend_v2.about)
      on conflict (name) do update set lease_ends = excluded.lease_ends, beat = w.beat + 1, beat_at = excluded.beat_at,
        about = coalesce(excluded.about, w.about);
  end if;
end $$;
--
-- Name: fetch_v1(text, bigint, text[], integer[], text[], bigint[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.fetch_v1(worker text, fetch_no bigint, queues text[], slots integer[], kinds text[], floors bigint[]) RETURNS SETOF made_by_b451a97.job_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return query select * from "made_by_b451a97".fetch_v2(worker, fetch_no, queues, slots, kinds, floors, null);
end $$;
--
-- Name: fetch_v2(text, bigint, text[], integer[], text[], bigint[], bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.fetch_v2(worker text, fetch_no bigint, queues text[], slots integer[], kinds text[], floors bigint[], max_bytes bigint) RETURNS SETOF made_by_b451a97.job_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
declare
  now bigint := "made_by_b451a97".clock_v1();
  near constant integer := 16;
  place record;           -- a priority of a queue in which jobs wait
  x record;
  in_queue bigint := 0;
  wanted integer;         -- of that queue, what has not been found yet
  tids tid[] := '{}';     -- where the jobs are that were found, in order
  sizes integer[] := '{}';
  frees boolean := false; -- for one of them the first fetch is the event
  due_at bigint;          -- when the first job of a place is due
  next_at bigint;         -- and of all places
  started integer;
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception
      'onceq: this ran above READ COMMITTED: alter role % set default_transaction_isolation = ''read committed'';',
      quote_ident(current_user)
      using errcode = 'OQ002';
  end if;
  for place in
    select q.n as in_queue, q.queue, q.slots, p.* from unnest(queues, slots) with ordinality as q(queue, slots, n)
    cross join lateral (
      select p.priority, floors[q.n * 10 + p.priority - 9] as floor, i.run_at,
        case when i.kind <> all(kinds) then true when i.run_at <= now and kinds is not null then exists (select from (
          select o.kind from "made_by_b451a97".jobs o
          where o.queue = q.queue and o.state <= 1 and o.behind is null and ((o.priority::bigint << 48) + o.run_at) >= (p.priority << 48) + floors[q.n * 10 + p.priority - 9]
            and ((o.priority::bigint << 48) + o.run_at) <= (p.priority << 48) + now
          order by ((o.priority::bigint << 48) + o.run_at), o.id limit q.slots + near) o where o.kind <> all(kinds)) else false end as mixed
      from generate_series(0::bigint, 9::bigint) as p(priority)
      cross join lateral (
        select i.run_at, i.kind from "made_by_b451a97".jobs i
        where i.queue = q.queue and i.state <= 1 and i.behind is null and ((i.priority::bigint << 48) + i.run_at) >= (p.priority << 48) + floors[q.n * 10 + p.priority - 9]
          and ((i.priority::bigint << 48) + i.run_at) < (p.priority + 1) << 48
        order by ((i.priority::bigint << 48) + i.run_at), i.id limit 1) i
      limit 10) p
    where not exists (select from "made_by_b451a97".paused z where z.queue = q.queue)
  loop
    if place.in_queue <> in_queue then
      in_queue := place.in_queue;
      wanted := place.slots;
    end if;
    due_at := place.run_at;
    if place.mixed then
      due_at := "made_by_b451a97".next_of_kinds_v2(place.queue, place.priority, kinds, place.floor);
    end if;
    next_at := least(next_at, due_at);
    if wanted <= 0 or due_at > now or due_at is null then
      continue;
    elsif place.mixed then
      select array_agg(y.tid) as tids, array_agg(y.bytes) as sizes, bool_or(y.frees) as frees into x
        from "made_by_b451a97".of_kinds_v2(place.queue, place.priority, kinds, place.floor, now, wanted) y;
    else
      select array_agg(y.tid) as tids, array_agg(y.bytes) as sizes, bool_or(y.frees) as frees into x from (
        select j.ctid as tid, octet_length(j.args) + coalesce(octet_length(j.meta::text), 0) as bytes, j.hold_until = 2 as frees from "made_by_b451a97".jobs j
        where j.queue = place.queue and j.state <= 1 and j.behind is null and (kinds is null or j.kind = any(kinds))
          and ((j.priority::bigint << 48) + j.run_at) >= (place.priority << 48) + place.floor and ((j.priority::bigint << 48) + j.run_at) <= (place.priority << 48) + now
        order by ((j.priority::bigint << 48) + j.run_at), j.id limit wanted for update skip locked) y;
    end if;
    if x.tids is not null then
      tids := tids || x.tids;
      sizes := sizes || x.sizes;
      frees := frees or coalesce(x.frees, false);
      wanted := wanted - cardinality(x.tids);
    end if;
  end loop;

  if tids <> '{}' then
    -- A leave waits for this and sees what is started; or this waits for
    -- the leave, and starts nothing.
    perform pg_advisory_xact_lock_shared("made_by_b451a97".worker_lock_v2(worker));
  end if;
  if not exists (select from "made_by_b451a97".workers w where w.name = worker) then
    return query select now, -1::bigint, null::"made_by_b451a97".jobs;
    return;
  elsif tids = '{}' then
    return query select now, next_at, null::"made_by_b451a97".jobs;
    return;
  end if;
  if (select sum(s.bytes) from unnest(sizes) as s(bytes)) > max_bytes then
    select array_agg(y.tid order by y.n) into tids from (
      select t.tid, t.n, sum(t.bytes) over (order by t.n) as bytes
        from unnest(tids, sizes) with ordinality as t(tid, bytes, n)) y
    where y.bytes <= max_bytes or y.n = 1;
  end if;
  return query
  update "made_by_b451a97".jobs j set state = 2, attempt = coalesce(j.attempt, 0) + 1, run = coalesce(j.run, 0) + 1,
    anchor = "made_by_b451a97".anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at), started_at = now,
    worker = fetch_v2.worker, fetch_no = fetch_v2.fetch_no
  where j.ctid = any(tids)
  returning now, null::bigint, j;
  get diagnostics started = row_count;
  if frees then
    perform "made_by_b451a97".started_v2(worker, fetch_no, now);
  end if;
  if started < (select sum(s.slots) from unnest(slots) as s(slots) where s.slots > 0) then
    return query select now, "made_by_b451a97".next_v2(queues, kinds, floors), null::"made_by_b451a97".jobs;
  end if;
end $$;
--
-- Name: finish_v1(integer, text, boolean, text[], bigint[], text[], bigint[], smallint[], bigint[], boolean[], text[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.finish_v1(patience integer, worker text, rescue boolean, ids text[], runs bigint[], odd_ids text[], odd_runs bigint[], states smallint[], delays bigint[], gives_back boolean[], failures text[]) RETURNS TABLE(id text, status integer, state smallint, wake text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return query select * from "made_by_b451a97".finish_v2(patience, worker, rescue, ids, runs, odd_ids, odd_runs, states, delays,
    gives_back, failures, null);
end $$;
--
-- Name: finish_v2(integer, text, boolean, text[], bigint[], text[], bigint[], smallint[], bigint[], boolean[], text[], bytea[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.finish_v2(patience integer, worker text, rescue boolean, ids text[], runs bigint[], odd_ids text[], odd_runs bigint[], states smallint[], delays bigint[], gives_back boolean[], failures text[], results bytea[]) RETURNS TABLE(id text, status integer, state smallint, wake text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  now bigint;
  done text[];
  odd text[] := '{}';
  keyed integer;
  freed integer;
  fleeting text[]; -- jobs that are not kept
  x text;
  j "made_by_b451a97".jobs;
  e record;
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception
      'onceq: this ran above READ COMMITTED: alter role % set default_transaction_isolation = ''read committed'';',
      quote_ident(current_user)
      using errcode = 'OQ002';
  end if;
  if patience is not null then -- one job at a time, so it holds nothing while it waits
    perform set_config('lock_timeout', patience::text, true);
    perform from "made_by_b451a97".jobs y where y.id = any(ids || odd_ids) and y.state between 2 and 2
      order by y.id for update;
  end if;
  now := "made_by_b451a97".clock_v1();
  -- A waiter that comes to stand behind one of these jobs while this
  -- statement waits is not in its snapshot: a later statement sees to its
  -- key.
  with u as (
    update "made_by_b451a97".jobs y set state = 3, worker = nullif(finish_v2.worker, ''), cancel_requested = false,
      finished_at = now,
      anchor = case when y.key is not null then least(y.anchor, now) else y.anchor end
    where y.ctid = any(array(
      select z.tid from unnest(ids, runs) as x(id, run)
      cross join lateral (select z.ctid as tid from "made_by_b451a97".jobs z
        where z.id = x.id and z.state between 2 and 2 and z.run = x.run
        and (rescue or z.worker = finish_v2.worker)
        for update skip locked) z))
    returning y.id, y.key, y.retention, y.hold_window
  ), freed as (
    delete from "made_by_b451a97".keys k using u
    where u.hold_window is null and k.pending in (1, 2, 3, 4)
      and k.key = u.key and k.holder = u.id and k.gone is null and k.next is null
        and (k.frees_at is null or k.frees_at > now)
    returning 1
  )
  select coalesce(array_agg(u.id), '{}'), count(u.key), (select count(*) from freed),
    array_agg(u.id) filter (where u.retention = 0)
    into done, keyed, freed, fleeting from u;

  if odd_ids <> '{}' then
    with l as materialized (
      select x.i, y.tid, case when y.cancel_requested and states[x.i] <> 3 then 5::smallint
        else states[x.i] end as final
      from unnest(odd_ids, odd_runs) with ordinality as x(id, run, i)
      cross join lateral (select y.ctid as tid, y.cancel_requested from "made_by_b451a97".jobs y
        where y.id = x.id and y.state between 2 and 2 and y.run = x.run
        and (rescue or y.worker = finish_v2.worker)
        for update skip locked) y
    ), u as (
      update "made_by_b451a97".jobs y set
        state = l.final, worker = nullif(finish_v2.worker, ''), cancel_requested = false,
        attempt = y.attempt - gives_back[l.i]::integer,
        errors = case when coalesce(failures[l.i], '') = '' then y.errors
          else "made_by_b451a97".errors_v1(y.errors, y.attempt, y.run, now, failures[l.i]) end,
        run_at = case when l.final < 3 then now + delays[l.i] else y.run_at end,
        finished_at = case when l.final < 3 then y.finished_at else now end,
        anchor = case when l.final >= 3 and y.key is not null then least(y.anchor, now) else y.anchor end,
        result = case when l.final >= 3 then results[l.i] end
      from l where y.ctid = l.tid
      returning y.id, y.key, y.state, y.retention
    )
    select coalesce(array_agg(u.id), '{}'), keyed + count(u.key) filter (where u.state >= 3),
        fleeting || array_agg(u.id) filter (where u.state >= 3 and u.retention = 0)
      into odd, keyed, fleeting from u;
    done := done || odd;
    return query select y.id, 0, y.state, case when y.state < 3 and y.run_at <= now then y.queue end
      from unnest(odd) as q(id) cross join lateral (select * from "made_by_b451a97".jobs y where y.id = q.id limit 1) y;
  end if;

  if freed < keyed then -- some keys may stay or pass to a waiter
    with h as (
      select k.tid, k.pending as was, k.frees_at as freed, p.pending, -- an anchor in the future becomes now
        case when p.pending <> k.pending or y.anchor = now and k.pending = 0
          then "made_by_b451a97".rest_v1(y.hold_window, y.hold_ttl, y.anchor)
          when y.anchor = now then "made_by_b451a97".frees_v1(y.hold_until, y.hold_window, y.hold_ttl, y.anchor, y.run_at)
            else k.frees_at end as frees_at
      from unnest(done) as q(id)
      cross join lateral (select * from "made_by_b451a97".jobs y where y.id = q.id and y.state >= 3 limit 1) y
      cross join lateral (select k.ctid as tid, k.pending, k.frees_at from "made_by_b451a97".keys k
        where k.key = y.key and k.holder = y.id and k.gone is null and k.next is null
          and (k.frees_at is null or k.frees_at > now) limit 1) k
      cross join lateral (select case when k.pending <> 0 and "made_by_b451a97".ends_on_v1(k.pending, y.state) then 0::smallint
        else k.pending end as pending) p
    ), f as (
      delete from "made_by_b451a97".keys k using h where k.ctid = h.tid and h.frees_at <= now and k.next is null
    )
    update "made_by_b451a97".keys k set pending = h.pending, frees_at = h.frees_at from h
    where k.ctid = h.tid and (h.frees_at is null or h.frees_at > now) and k.next is null
      and (h.pending <> h.was or h.frees_at is distinct from h.freed);
    for x in
      select q.id from unnest(done) as q(id)
      cross join lateral (select y.key from "made_by_b451a97".jobs y where y.id = q.id and y.state >= 3 limit 1) y
      cross join lateral (select k.holder, k.next, k.frees_at, k.gone from "made_by_b451a97".keys k where k.key = y.key limit 1) k
      where k.holder = q.id and k.gone is null and (k.next is not null or k.frees_at <= now)
        or k.holder <> q.id and exists (select from "made_by_b451a97".jobs w where w.id = k.holder and w.behind = q.id)
    loop
      select y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace into j from "made_by_b451a97".jobs y where y.id = x;
      select * into e from "made_by_b451a97".ended_v1(j, false, now);
      if (e.j).keyless then
        update "made_by_b451a97".jobs y set keyless = true where y.id = x and not y.keyless;
      end if;
      if e.wake is not null then
        return query select x, 4, j.state, e.wake;
      end if;
    end loop;
  end if;

  if fleeting is not null then
    for x in
      select q.id from unnest(fleeting) as q(id)
      cross join lateral (select y.key from "made_by_b451a97".jobs y where y.id = q.id limit 1) y
      cross join lateral (select from "made_by_b451a97".keys k where k.key = y.key and k.holder = q.id and k.gone is null limit 1) k
    loop
      select y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace into j from "made_by_b451a97".jobs y where y.id = x;
      perform "made_by_b451a97".remove_v1(j, true, now);
    end loop;
    delete from "made_by_b451a97".jobs y where y.id = any(fleeting) and y.state >= 3;
  end if;

  if cardinality(done) < cardinality(ids || odd_ids) then
    return query
    select x.id, case
        when y.id is null then 2
        when y.run = x.run and y.state <> 2 and y.worker = finish_v2.worker then 0
        when y.run = x.run and y.state = 2 and (rescue or y.worker = finish_v2.worker) then 3
        else 1 end, y.state, null::text
    from unnest(ids || odd_ids, runs || odd_runs) as x(id, run)
    left join lateral (select * from "made_by_b451a97".jobs y where y.id = x.id limit 1) y on true
    where x.id not in (select unnest(done));
  end if;
end $$;
--
-- Name: frees_v1(smallint, bigint, bigint, bigint, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.frees_v1(hold_until smallint, hold_window bigint, hold_ttl bigint, anchor bigint, run_at bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select least(
    case hold_until
      when 1 then greatest(run_at, anchor + coalesce(hold_window, 0))
      when 7 then anchor + coalesce(hold_window, 0)
    end,
    anchor + hold_ttl)
$$;
--
-- Name: get_v1(text[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.get_v1(ids text[]) RETURNS SETOF made_by_b451a97.job_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
declare
  now bigint := "made_by_b451a97".clock_v1();
begin
  return query select now, 0::bigint, j from "made_by_b451a97".jobs j where j.id = any(ids);
end $$;
--
-- Name: gone_v1(made_by_b451a97.jobs); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.gone_v1(j made_by_b451a97.jobs) RETURNS json
    LANGUAGE sql STABLE
    AS $$
  select json_build_object('kind', j.kind, 'queue', j.queue, 'text', "made_by_b451a97".text_v1(j), 'state', j.state, 'digest',
    encode(j.digest, 'hex'))
$$;
--
-- Name: insert_one_v1(text, text, bytea, text, text, bytea, text, text, bytea, text, bytea, bigint[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.insert_one_v1(patience text, id text, nonce bytea, kind text, queue text, args bytea, meta text, tags text, key bytea, text text, digest bytea, nums bigint[]) RETURNS SETOF made_by_b451a97.answer_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_variable
declare
  ignored text := set_config('lock_timeout', patience, true);
  now bigint := "made_by_b451a97".clock_v1();
  run_at bigint := greatest(now, case when nums[6] <> 0 then nums[6] else now + nums[5] end);
  a "made_by_b451a97".answer_v1 := row(0, 0, 0, now, null, null, null, null, null, null, null, null, null, null, null);
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception
      'onceq: this ran above READ COMMITTED: alter role % set default_transaction_isolation = ''read committed'';',
      quote_ident(current_user)
      using errcode = 'OQ002';
  end if;
  if key is not null then
    insert into "made_by_b451a97".keys (frees_at, pending, key, holder)
    values ("made_by_b451a97".frees_v1(nums[8]::smallint, nullif(nums[9], 0), nullif(nums[10], 0),
      case when nums[11] <> 0 then now else run_at end, run_at),
      "made_by_b451a97".pending_v1(nums[8]::smallint), key, id)
    on conflict on constraint keys_pkey do nothing;
  end if;
  if key is null or found then
    insert into "made_by_b451a97".jobs (enqueued_at, run_at, retention, timeout, hold_window, hold_ttl, max_attempts, state,
      priority,
      hold_until, raw, cancel_requested, keyless, from_enqueue, id, kind, queue, key, nonce, digest, args, key_text,
        meta, tags)
    values (now, run_at, nullif(nums[4], 86400000), nullif(nums[3], 0), nullif(nums[9], 0), nullif(nums[10], 0),
      nums[2], 0, nums[1],
      nullif(nums[8], 0), nums[7] <> 0, false, false, nullif(nums[11] <> 0, false),
      id, kind, queue, key, nonce, digest, args, nullif(text, ''), meta::json, tags::json)
    on conflict on constraint jobs_pkey do nothing;
    if found then
      return next a;
      return;
    elsif key is not null then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
  end if;
  return query select * from "made_by_b451a97".lookup_v1(array[1], array[id], array[nonce], array[kind], array[key], nums);
  if not found then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
end $$;
--
-- Name: insert_v1(text, text[], bytea[], text[], text[], bytea[], text[], text[], bytea[], text[], bytea[], bigint[], integer[], boolean); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.insert_v1(patience text, ids text[], nonces bytea[], kinds text[], queues text[], args bytea[], metas text[], tags text[], keys bytea[], texts text[], digests bytea[], nums bigint[], by_key integer[], made boolean) RETURNS SETOF made_by_b451a97.answer_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
declare
  ignored text := set_config('lock_timeout', patience, true);
  now bigint := "made_by_b451a97".clock_v1();
  n integer := cardinality(ids);
  claims integer := coalesce(cardinality(by_key), 0);
  taken integer := 0;    -- keys
  inserted integer;
  met integer[];         -- rows whose key or ID is not free
  answered integer;
  a "made_by_b451a97".answer_v1 := row(0, 0, 0, now, null, null, null, null, null, null, null, null, null, null, null);
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception
      'onceq: this ran above READ COMMITTED: alter role % set default_transaction_isolation = ''read committed'';',
      quote_ident(current_user)
      using errcode = 'OQ002';
  end if;
  if claims > 0 then
    insert into "made_by_b451a97".keys (frees_at, pending, key, holder)
    select "made_by_b451a97".frees_v1(r.hold_until, r.hold_window, r.hold_ttl, case when r.from_enqueue then now else r.run_at end,
      r.run_at),
      "made_by_b451a97".pending_v1(r.hold_until), r.key, r.id
    from (
      select keys[i] as key, ids[i] as id, greatest(now,
        case when nums[i * 14 - 8] <> 0 then nums[i * 14 - 8] else now + nums[i * 14 - 9] end) as run_at,
        nums[i * 14 - 6]::smallint as hold_until, nullif(nums[i * 14 - 5], 0) as hold_window,
          nullif(nums[i * 14 - 4], 0) as hold_ttl,
        nums[i * 14 - 3] <> 0 as from_enqueue
      from unnest(by_key) i
      offset 0) r -- so that values are computed once and functions inlined
    on conflict (key) do nothing;
    get diagnostics taken = row_count;
    if taken < claims then
      select array_agg(i) into met from unnest(by_key) i
      left join lateral (select k.holder from "made_by_b451a97".keys k where k.key = keys[i] limit 1) k on true
      where k.holder is distinct from ids[i];
    end if;
  end if;
  if taken < claims and claims = n and taken = 0 then
    inserted := 0; -- a batch of duplicates
  else
    if made then
      insert into "made_by_b451a97".jobs select * from "made_by_b451a97".rows_v1(now, n, met, ids, nonces, kinds, queues, args, metas, tags, keys,
        texts, digests, nums);
    else
      insert into "made_by_b451a97".jobs select * from "made_by_b451a97".rows_v1(now, n, met, ids, nonces, kinds, queues, args, metas, tags, keys,
        texts, digests, nums)
      on conflict (id) do nothing; -- a sixth of the cost of it all
    end if;
    get diagnostics inserted = row_count;
  end if;
  if inserted < n then
    if inserted + coalesce(cardinality(met), 0) < n then -- an ID exists
      select array_agg(i) into met from generate_series(1, n) i
      left join lateral (select j.ctid as tid, j.xmin from "made_by_b451a97".jobs j where j.id = ids[i] and j.nonce = nonces[i]
        limit 1) j on true
      where j.tid is null or j.xmin is distinct from pg_current_xact_id_if_assigned()::xid;
      if exists (select from unnest(met) as i
        cross join lateral (select from "made_by_b451a97".keys k where k.key = keys[i] and k.holder = ids[i] limit 1) k) then
        raise exception 'onceq: again' using errcode = 'OQ001'; -- its row has taken a key already
      end if;
    end if;
    return query select * from "made_by_b451a97".lookup_v1(met, ids, nonces, kinds, keys, nums);
    get diagnostics answered = row_count;
    if answered <> cardinality(met) then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
  end if;
  return next a;
end $$;
--
-- Name: keys_v1(bytea, integer, bytea); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.keys_v1(after_key bytea, look integer, name bytea) RETURNS TABLE(key bytea, inert boolean, holder text, waiter text, since bigint, frees_at bigint, pending smallint, gone boolean, kind text, queue text, key_text text, state smallint, digest bytea)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return query select k.key, k.inert, k.holder, k.waiter, k.since, k.frees_at, k.pending, k.gone, k.kind, k.queue,
    k.key_text, k.state, k.digest
    from "made_by_b451a97".keys_v2(after_key || '\x00', decode(repeat('ff', 33), 'hex'), look, name) k;
end $$;
--
-- Name: keys_v2(bytea, bytea, integer, bytea); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.keys_v2(first_key bytea, last_key bytea, look integer, name bytea) RETURNS TABLE(now bigint, key bytea, inert boolean, holder text, waiter text, since bigint, frees_at bigint, pending smallint, gone boolean, kind text, queue text, key_text text, state smallint, digest bytea)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  t bigint := "made_by_b451a97".clock_v1();
begin
  return query
  select t, l.key, l.over and l.next is null, case when l.settled then l.next else l.holder end,
    case when l.settled then null else l.next end,
    case when l.settled then l.frees_at else coalesce(l.since, h.enqueued_at) end,
      case when l.settled then null else l.frees_at end,
    "made_by_b451a97".named_v1(case when l.settled then "made_by_b451a97".pending_v1(h.hold_until) else l.pending end, h.behind, h.run, h.run_at,
      t),
    h.id is null, coalesce(h.kind, l.gone ->> 'kind'), coalesce(h.queue, l.gone ->> 'queue'),
      coalesce("made_by_b451a97".text_v1(h.job), l.gone ->> 'text'),
    case when h.id is null then (l.gone ->> 'state')::smallint else "made_by_b451a97".shown_v1(h.state, h.behind, h.run_at, t) end,
    case when h.id is null then decode(l.gone ->> 'digest', 'hex') else h.digest end
  from (
    select k.*, coalesce(k.frees_at <= t, false) as over,
      coalesce(k.frees_at <= t, false) and k.next is not null as settled
    from "made_by_b451a97".keys k where (name is null or k.key = name) and k.key >= first_key and k.key <= last_key
      order by k.key limit look
  ) l
  left join lateral (select row(x.enqueued_at, x.run_at, x.retention, x.run, x.anchor, x.started_at, x.finished_at, x.fetch_no, x.timeout, x.hold_window, x.hold_ttl, x.attempt, x.max_attempts, x.state, x.priority, x.hold_until, x.origin, x.raw, x.cancel_requested, x.keyless, x.from_enqueue, x.id, x.kind, x.queue, x.key, x.nonce, x.digest, case when right(x.key_text, 1) = E'\x02' then x.args else '' end, x.key_text, x.worker, x.behind, x.displaced, x.superseded_by, x.meta, x.tags, x.errors, null::bytea, x.trace)::"made_by_b451a97".jobs as job, x.id, x.kind, x.queue, x.enqueued_at, x.hold_until, x.behind, x.run,
    x.run_at, x.state, x.digest from "made_by_b451a97".jobs x
    where x.id = case when l.settled then l.next else l.holder end and x.key = l.key and (l.gone is null or l.settled)
      limit 1) h on true
  order by l.key;
end $$;
--
-- Name: keys; Type: TABLE; Schema: made_by_b451a97; Owner: -
--

CREATE TABLE made_by_b451a97.keys (
    since bigint,
    frees_at bigint,
    pending smallint NOT NULL,
    key bytea NOT NULL,
    holder text NOT NULL COLLATE pg_catalog."C",
    next text COLLATE pg_catalog."C",
    gone json
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');
ALTER TABLE ONLY made_by_b451a97.keys ALTER COLUMN key SET STORAGE PLAIN;
--
-- Name: let_go_v1(made_by_b451a97.keys, text, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.let_go_v1(k made_by_b451a97.keys, waiter text, now bigint) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  w "made_by_b451a97".jobs;
begin
  select y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace into w from "made_by_b451a97".jobs y where y.id = waiter for update; -- the lock of the job in front guards it
  w.behind := null;
  w.run_at := greatest(w.run_at, now);
  w.anchor := "made_by_b451a97".anchor_v1(w.from_enqueue, w.enqueued_at, w.run_at);
  perform "made_by_b451a97".save_v1(w);
  k.pending := "made_by_b451a97".pending_v1(w.hold_until);
  k.frees_at := "made_by_b451a97".frees_v1(w.hold_until, w.hold_window, w.hold_ttl, w.anchor, w.run_at);
  perform "made_by_b451a97".put_v1(k, now);
  if w.run_at <= now then
    return w.queue;
  end if;
  return null;
end $$;
--
-- Name: list_v1(text, integer, boolean, smallint, text, text, bytea, integer); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.list_v1(below_id text, look integer, few boolean, shown smallint, of_queue text, of_kind text, of_key bytea, most integer) RETURNS TABLE(now bigint, n bigint, last text, job made_by_b451a97.jobs)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return query select * from "made_by_b451a97".list_v2(below_id, look, few, shown, of_queue, of_kind, of_key, most,
    9223372036854775807);
end $$;
--
-- Name: list_v2(text, integer, boolean, smallint, text, text, bytea, integer, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.list_v2(below_id text, look integer, few boolean, shown smallint, of_queue text, of_kind text, of_key bytea, most integer, max_bytes bigint) RETURNS TABLE(now bigint, n bigint, last text, job made_by_b451a97.jobs)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  t bigint := "made_by_b451a97".clock_v1();
  ids text[];     -- the jobs that it looks at
  matched text[]; -- those that match
  fit integer;    -- how many of these fit into max_bytes
begin
  if below_id = '' then
    below_id := (select max(x.id) || 'x' from "made_by_b451a97".jobs x);
  end if;
  if few then
    ids := array(select x.id from "made_by_b451a97".jobs x where x.state in (1, 4, 5) and x.id < below_id order by x.id desc
      limit look);
  else
    ids := array(select x.id from "made_by_b451a97".jobs x where x.id < below_id order by x.id desc limit look);
  end if;
  matched := array(
    select x.id
    from unnest(ids) with ordinality as r(id, place)
    cross join lateral (select * from "made_by_b451a97".jobs x where x.id = r.id limit 1) x
    where (list_v2.shown is null or "made_by_b451a97".shown_v1(x.state, x.behind, x.run_at, t) = list_v2.shown)
      and (of_queue = '' or x.queue = of_queue) and (of_kind = '' or x.kind = of_kind)
        and (of_key is null or x.key = of_key)
    limit most);
  fit := cardinality(matched);
  if max_bytes is not null then
    select count(*) into fit from (
      select r.place, sum(octet_length(x.args) + coalesce(octet_length(x.meta::text),
        0)) over (order by r.place rows unbounded preceding) as bytes
      from unnest(matched) with ordinality as r(id, place)
      cross join lateral (select * from "made_by_b451a97".jobs x where x.id = r.id limit 1) x) y
    where y.bytes <= max_bytes or y.place = 1;
  end if;
  if max_bytes is null then
    return query select t, null::bigint, null::text, j.job from unnest(matched) with ordinality as r(id, place)
      cross join lateral (select row(x.enqueued_at, x.run_at, x.retention, x.run, x.anchor, x.started_at, x.finished_at, x.fetch_no, x.timeout, x.hold_window, x.hold_ttl, x.attempt, x.max_attempts, x.state, x.priority, x.hold_until, x.origin, x.raw, x.cancel_requested, x.keyless, x.from_enqueue, x.id, x.kind, x.queue, x.key, x.nonce, x.digest, case when right(x.key_text, 1) = E'\x02' then x.args else '' end, x.key_text, x.worker, x.behind, x.displaced, x.superseded_by, x.meta, x.tags, x.errors, null::bytea, x.trace)::"made_by_b451a97".jobs as job from "made_by_b451a97".jobs x where x.id = r.id limit 1) j;
  else
    return query select t, null::bigint, null::text, j.job from unnest(matched[:fit]) with ordinality as r(id, place)
      cross join lateral (select x as job from "made_by_b451a97".jobs x where x.id = r.id limit 1) j;
  end if;
  if fit < cardinality(matched) then
    return query select t, look::bigint, matched[fit], null::"made_by_b451a97".jobs;
  else
    return query select t, cardinality(ids)::bigint, ids[cardinality(ids)], null::"made_by_b451a97".jobs;
  end if;
end $$;
--
-- Name: list_v3(text, integer, integer, integer, integer, text, text, bytea, text, text, bigint, bigint, integer, bigint, boolean); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.list_v3(below_id text, look integer, indexes integer, few integer, shown integer, of_queue text, of_kind text, of_key bytea, of_tag text, of_worker text, enqueued_from bigint, enqueued_to bigint, most integer, max_bytes bigint, begins boolean) RETURNS TABLE(now bigint, looked integer, last text, bytes bigint, more boolean, is_full boolean, job made_by_b451a97.jobs)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  t bigint := "made_by_b451a97".clock_v1();
  ids text[] := "made_by_b451a97".look_v1(below_id, look, indexes, few, of_queue, of_worker);
  matched text[]; -- of these, and one more than there is room for
  fit integer;    -- how many of them there is room for
  total bigint;
begin
  matched := array(
    select x.id
    from unnest(ids) with ordinality as r(id, place)
    cross join lateral (select * from "made_by_b451a97".jobs x where x.id = r.id limit 1) x
    where shown >> "made_by_b451a97".shown_v1(x.state, x.behind, x.run_at, t) & 1 = 1
      and (of_queue = '' or x.queue = of_queue) and (of_kind = '' or x.kind = of_kind)
      and (of_key is null or x.key = of_key) and (of_worker = '' or x.worker = of_worker)
      and x.enqueued_at >= enqueued_from and x.enqueued_at < enqueued_to
      and (of_tag = '' or exists (select from json_array_elements_text(x.tags) as g(tag) where g.tag = of_tag))
    limit most + 1);
  fit := least(most, cardinality(matched));
  if max_bytes is not null then
    select count(*), max(y.bytes) into fit, total from (
      select r.place, sum(octet_length(x.args) + coalesce(octet_length(x.meta::text),
        0)) over (order by r.place rows unbounded preceding) as bytes
      from unnest(matched[:fit]) with ordinality as r(id, place)
      cross join lateral (select * from "made_by_b451a97".jobs x where x.id = r.id limit 1) x) y
    where y.bytes <= max_bytes or begins and y.place = 1;
    return query select t, 0, null::text, 0::bigint, false, false, j.job
      from unnest(matched[:fit]) with ordinality as r(id, place)
      cross join lateral (select x as job from "made_by_b451a97".jobs x where x.id = r.id limit 1) j order by r.place;
  else
    return query select t, 0, null::text, 0::bigint, false, false, j.job
      from unnest(matched[:fit]) with ordinality as r(id, place)
      cross join lateral (select row(x.enqueued_at, x.run_at, x.retention, x.run, x.anchor, x.started_at, x.finished_at, x.fetch_no, x.timeout, x.hold_window, x.hold_ttl, x.attempt, x.max_attempts, x.state, x.priority, x.hold_until, x.origin, x.raw, x.cancel_requested, x.keyless, x.from_enqueue, x.id, x.kind, x.queue, x.key, x.nonce, x.digest, case when right(x.key_text, 1) = E'\x02' then x.args else '' end, x.key_text, x.worker, x.behind, x.displaced, x.superseded_by, x.meta, x.tags, x.errors, null::bytea, x.trace)::"made_by_b451a97".jobs as job from "made_by_b451a97".jobs x where x.id = r.id limit 1) j order by r.place;
  end if;
  if fit < cardinality(matched) then
    look := array_position(ids, matched[fit + 1]) - 1;
    return query select t, look, ids[look], coalesce(total, 0), true, true, null::"made_by_b451a97".jobs;
  else
    return query select t, cardinality(ids), ids[cardinality(ids)], coalesce(total, 0), cardinality(ids) = look, false,
      null::"made_by_b451a97".jobs;
  end if;
end $$;
--
-- Name: look_v1(text[], bytea[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.look_v1(ids text[], keys bytea[]) RETURNS SETOF made_by_b451a97.found_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
declare
  now bigint := "made_by_b451a97".clock_v1();
begin
  return query
  select i::integer, now, k.since, k.frees_at, k.pending, k.holder, k.gone, j.job
  from unnest(ids, keys) with ordinality as r(id, key, i)
  cross join lateral (select * from "made_by_b451a97".keys x where x.key = r.key and (x.frees_at is null or x.frees_at > now)
    limit 1) k
  left join lateral (select x as job from "made_by_b451a97".jobs x where x.id = k.holder and x.key = r.key and k.gone is null
    limit 1) j on true
  where not exists (select from "made_by_b451a97".jobs x where x.id = r.id offset 0);
end $$;
--
-- Name: look_v1(text, integer, integer, integer, text, text); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.look_v1(below_id text, look integer, indexes integer, few integer, of_queue text, of_worker text) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
begin
  if below_id = '' then
    below_id := (select max(x.id) || 'x' from "made_by_b451a97".jobs x);
  end if;
  if indexes = 0 or (case when indexes & 1 > 0 then "made_by_b451a97".waiting_v1(of_queue, few + 1) else 0 end)
    + (case when indexes & 4 > 0 then "made_by_b451a97".running_v1(of_worker, few + 1) else 0 end) > few then
    return array(select x.id from "made_by_b451a97".jobs x where x.id < below_id order by x.id desc limit look);
  end if;
  return array(select y.id from (
    (select x.id from "made_by_b451a97".jobs x where indexes & 1 > 0 and of_queue = '' and x.state <= 1 and x.behind is null
      order by x.queue, (x.priority::bigint << 48) + x.run_at, x.id limit few + 1)
    union all
    (select x.id from "made_by_b451a97".jobs x where indexes & 1 > 0 and of_queue <> '' and x.queue = of_queue and x.state <= 1
      and x.behind is null order by (x.priority::bigint << 48) + x.run_at, x.id limit few + 1)
    union all
    select x.id from "made_by_b451a97".jobs x where indexes & 2 > 0 and x.behind is not null
    union all
    select x.id from "made_by_b451a97".jobs x where indexes & 4 > 0 and of_worker = '' and x.state = 2
    union all
    select x.id from "made_by_b451a97".jobs x where indexes & 4 > 0 and of_worker <> '' and x.worker = of_worker and x.state = 2
    union all
    (select x.id from "made_by_b451a97".jobs x where indexes & 8 > 0 and x.state in (1, 4, 5) and x.id < below_id
      order by x.id desc limit look)) y
    where y.id < below_id group by y.id order by y.id desc limit look);
end $$;
--
-- Name: lookup_v1(integer[], text[], bytea[], text[], bytea[], bigint[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.lookup_v1(which integer[], ids text[], nonces bytea[], kinds text[], keys bytea[], nums bigint[]) RETURNS SETOF made_by_b451a97.answer_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
declare
  now bigint := "made_by_b451a97".clock_v1();
begin
  return query
  select 0, i,
    case when m.id is null then "made_by_b451a97".reaction_v1(nums[i * 14 - 2], coalesce(c.shown, 3::smallint)) when c.kind <> kinds[i]
      or nums[i * 14 - 2] & 7 = 1 then 1 else 0 end + 1,
    now, null::bigint,
    case when m.id is null then 1 else 2 end,
    coalesce(m.id, k.holder), coalesce(c.shown, (k.gone ->> 'state')::smallint),
      case when m.id is null then coalesce(k.since, c.enqueued_at) else c.enqueued_at end,
    k.frees_at, "made_by_b451a97".named_v1(case when k.settled then "made_by_b451a97".pending_v1(c.hold_until) else k.pending end, c.behind,
      c.run, c.run_at, now),
    null::text, null::integer, k.gone, c.job
  from unnest(which) as i
  left join lateral (select x.id, x.nonce from "made_by_b451a97".jobs x where x.id = ids[i] limit 1) m on true
  left join lateral (
    select x.settled, case when x.settled then x.next else x.holder end as holder,
      case when x.settled then x.frees_at else x.since end as since,
      case when x.settled then null else x.frees_at end as frees_at, x.pending,
        case when x.settled then null else x.gone end as gone
    from (select x.*, coalesce(x.frees_at <= now, false) as settled from "made_by_b451a97".keys x
      where x.key = keys[i] and m.id is null limit 1) x
    where not x.settled or x.next is not null) k on true -- settled: the key has passed to the waiter
  left join lateral (select x as job, "made_by_b451a97".shown_v1(x.state, x.behind, x.run_at, now) as shown, x.kind, x.enqueued_at,
    x.hold_until, x.behind, x.run, x.run_at
    from "made_by_b451a97".jobs x where x.id = coalesce(m.id, k.holder) and (m.id is not null or x.key = keys[i] and k.gone is null)
      limit 1) c on true
  where m.id is not null and m.nonce <> nonces[i]
    or m.id is null and (c.shown is not null or k.gone is not null)
      and "made_by_b451a97".reaction_v1(nums[i * 14 - 2], coalesce(c.shown, 3::smallint)) <= 1;
end $$;
--
-- Name: move_run_v1(made_by_b451a97.jobs, bigint, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.move_run_v1(INOUT j made_by_b451a97.jobs, new_run_at bigint, now bigint) RETURNS made_by_b451a97.jobs
    LANGUAGE plpgsql
    AS $$
declare
  k "made_by_b451a97".keys;
  was_due boolean := j.run_at <= now;
begin
  j.anchor := "made_by_b451a97".anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at);
  j.run_at := new_run_at;
  if j.run > 0 or j.key is null then
    return;
  end if;
  select * into k from "made_by_b451a97".keys where key = j.key;
  if not found or k.holder <> j.id or k.gone is not null or k.frees_at <= now and k.next is null then
    j.keyless := true;
    return;
  end if;
  j.anchor := "made_by_b451a97".anchor_v1(j.from_enqueue, j.enqueued_at, j.run_at);
  if j.behind is not null then
    return;
  end if;
  if k.pending = 1 and was_due then
    k.pending := 0;
  end if;
  if k.pending = 0 and j.hold_until <> 7 then
    k.frees_at := "made_by_b451a97".rest_v1(j.hold_window, j.hold_ttl, j.anchor);
  else
    k.frees_at := "made_by_b451a97".frees_v1(j.hold_until, j.hold_window, j.hold_ttl, j.anchor, j.run_at);
  end if;
  perform "made_by_b451a97".put_v1(k, now);
end $$;
--
-- Name: named_v1(smallint, text, bigint, bigint, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.named_v1(pending smallint, behind text, run bigint, run_at bigint, now bigint) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case when pending = 1 and behind is null and (run > 0 or run_at <= now) then 0
    else pending end::smallint
$$;
--
-- Name: next_of_kinds_v2(text, bigint, text[], bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.next_of_kinds_v2(of_queue text, priority bigint, kinds text[], floor bigint) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_variable
begin
  return (
    select min(k.run_at) from unnest(kinds) as asked(kind)
    cross join lateral (
      select j.run_at from "made_by_b451a97".jobs j
      where hashtextextended(j.kind, hashtextextended(j.queue, 0)) = hashtextextended(asked.kind, hashtextextended(of_queue, 0)) and j.kind = asked.kind and j.queue || '' = of_queue and j.state <= 1 and j.behind is null and (j.run_at + (j.priority::bigint << 48)) >= (priority << 48) + floor and (j.run_at + (j.priority::bigint << 48)) < (priority + 1) << 48
      order by (j.run_at + (j.priority::bigint << 48)) limit 1) k);
end $$;
--
-- Name: next_v2(text[], text[], bigint[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.next_v2(queues text[], kinds text[], floors bigint[]) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
declare
  near constant integer := 16;
begin
  return (
    select min(case when a.mine is null and a.n = near then "made_by_b451a97".next_of_kinds_v2(q.queue, p, kinds, f.floor)
      else a.mine end)
    from unnest(queues) with ordinality as q(queue, n) cross join generate_series(0::bigint, 9::bigint) as p
    cross join lateral (select floors[q.n * 10 + p - 9] as floor) f
    cross join lateral (
      select count(*) as n, min(i.run_at) filter (where kinds is null or i.kind = any(kinds)) as mine from (
        select i.run_at, i.kind from "made_by_b451a97".jobs i
        where i.queue = q.queue and i.state <= 1 and i.behind is null and ((i.priority::bigint << 48) + i.run_at) >= (p << 48) + f.floor and ((i.priority::bigint << 48) + i.run_at) < (p + 1) << 48
        order by ((i.priority::bigint << 48) + i.run_at), i.id limit near) i) a
    where not exists (select from "made_by_b451a97".paused z where z.queue = q.queue));
end $$;
--
-- Name: of_instant_v2(text, bigint, text[], integer); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.of_instant_v2(of_queue text, place bigint, kinds text[], most integer) RETURNS TABLE(tid tid, bytes integer, frees boolean)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
  found_already tid[];
begin
  found_already := array(
    select j.ctid from (
      select i.ctid as tid, i.kind from "made_by_b451a97".jobs i
      where i.queue = of_queue and i.state <= 1 and i.behind is null and ((i.priority::bigint << 48) + i.run_at) = place
      order by ((i.priority::bigint << 48) + i.run_at), i.id limit 10 * most + 100) i
    join "made_by_b451a97".jobs j on j.ctid = i.tid and j.state <= 1 and j.behind is null
    where i.kind = any(kinds) limit most for update of j skip locked);
  return query select j.ctid, octet_length(j.args) + coalesce(octet_length(j.meta::text), 0), j.hold_until = 2 from "made_by_b451a97".jobs j
    where j.ctid = any(found_already);
  if cardinality(found_already) < most then
    return query select k.tid, k.bytes, k.frees from unnest(kinds) as asked(kind)
      cross join lateral (
        select j.ctid as tid, octet_length(j.args) + coalesce(octet_length(j.meta::text), 0) as bytes, j.hold_until = 2 as frees, j.id from "made_by_b451a97".jobs j
        where hashtextextended(j.kind, hashtextextended(j.queue, 0)) = hashtextextended(asked.kind, hashtextextended(of_queue, 0)) and j.kind = asked.kind and j.queue || '' = of_queue and j.state <= 1 and j.behind is null and (j.run_at + (j.priority::bigint << 48)) = place and j.ctid <> all(found_already)
        order by j.id limit most - cardinality(found_already) for update skip locked) k
      order by k.id limit most - cardinality(found_already);
  end if;
end $$;
--
-- Name: of_kinds_v2(text, bigint, text[], bigint, bigint, integer); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.of_kinds_v2(of_queue text, priority bigint, kinds text[], floor bigint, now bigint, most integer) RETURNS TABLE(tid tid, bytes integer, frees boolean)
    LANGUAGE plpgsql
    AS $$
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
      cross join lateral (select (j.run_at + (j.priority::bigint << 48)) as at from "made_by_b451a97".jobs j
        where hashtextextended(j.kind, hashtextextended(j.queue, 0)) = hashtextextended(asked.kind, hashtextextended(of_queue, 0)) and j.kind = asked.kind and j.queue || '' = of_queue and j.state <= 1 and j.behind is null and (j.run_at + (j.priority::bigint << 48)) > done and (j.run_at + (j.priority::bigint << 48)) < base + (1::bigint << 48)
        order by (j.run_at + (j.priority::bigint << 48)) limit wanted + 1) k
      order by k.at limit wanted + 1);
    exit when ats[1] is null or ats[1] > base + now;
    edge := least(ats[least(wanted, cardinality(ats))], base + now);
    tied := coalesce(ats[wanted + 1] = edge, false);
    return query select k.tid, k.bytes, k.frees from unnest(kinds) as asked(kind)
      cross join lateral (
        select j.ctid as tid, octet_length(j.args) + coalesce(octet_length(j.meta::text), 0) as bytes, j.hold_until = 2 as frees, j.run_at, j.id
        from "made_by_b451a97".jobs j
        where hashtextextended(j.kind, hashtextextended(j.queue, 0)) = hashtextextended(asked.kind, hashtextextended(of_queue, 0)) and j.kind = asked.kind and j.queue || '' = of_queue and j.state <= 1 and j.behind is null and (j.run_at + (j.priority::bigint << 48)) > done and (j.run_at + (j.priority::bigint << 48)) <= edge - tied::integer
        for update skip locked) k
      order by k.run_at, k.id limit wanted;
    get diagnostics got = row_count;
    wanted := wanted - got;
    if tied and wanted > 0 then
      return query select * from "made_by_b451a97".of_instant_v2(of_queue, edge, kinds, wanted);
      get diagnostics got = row_count;
      wanted := wanted - got;
    end if;
    done := edge;
    exit when wanted = 0 or edge = base + now;
  end loop;
end $$;
--
-- Name: options_v1(made_by_b451a97.jobs, integer, text[], text[], bytea[], text[], text[], bytea[], text[], bytea[], bigint[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.options_v1(INOUT j made_by_b451a97.jobs, i integer, kinds text[], queues text[], args bytea[], metas text[], tags text[], keys bytea[], texts text[], digests bytea[], nums bigint[]) RETURNS made_by_b451a97.jobs
    LANGUAGE plpgsql
    AS $$
declare
begin
  j.kind := kinds[i];
  j.queue := queues[i];
  j.args := args[i];
  j.raw := nums[i * 14 - 7] <> 0;
  j.meta := nullif(metas[i], '');
  j.tags := nullif(tags[i], '');
  j.priority := nums[i * 14 - 13];
  j.max_attempts := nums[i * 14 - 12];
  j.timeout := nullif(nums[i * 14 - 11], 0);
  j.retention := nullif(nums[i * 14 - 10], 86400000);
  if keys[i] <> '' then
    j.key := keys[i];
    j.key_text := texts[i];
    j.digest := digests[i];
    j.hold_until := nums[i * 14 - 6];
    j.hold_window := nullif(nums[i * 14 - 5], 0);
    j.hold_ttl := nullif(nums[i * 14 - 4], 0);
    j.from_enqueue := nullif(nums[i * 14 - 3] <> 0, false);
  end if;
end $$;
--
-- Name: pending_v1(smallint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.pending_v1(hold_until smallint) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case when hold_until = 7 then 0 else hold_until end::smallint
$$;
--
-- Name: put_v1(made_by_b451a97.keys, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.put_v1(k made_by_b451a97.keys, now bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  if k.frees_at is null or now < k.frees_at or k.next is not null then
    update "made_by_b451a97".keys set (since, frees_at, pending, holder, next, gone) = (k.since, k.frees_at, k.pending, k.holder,
      k.next, k.gone)
      where key = k.key;
  else
    delete from "made_by_b451a97".keys where key = k.key;
  end if;
end $$;
--
-- Name: queue_names_v1(); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.queue_names_v1() RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
declare
  names text[] := array(select p.queue from "made_by_b451a97".paused p);
  name text;
begin
  name := (select x.queue from "made_by_b451a97".jobs x where x.state <= 1 and x.behind is null order by x.queue limit 1);
  while name is not null loop
    names := names || name;
    name := (select x.queue from "made_by_b451a97".jobs x where x.state <= 1 and x.behind is null and x.queue > name
      order by x.queue limit 1);
  end loop;
  name := (select x.queue from "made_by_b451a97".jobs x where x.state in (1, 3, 4, 5) order by x.queue limit 1);
  while name is not null loop
    names := names || name;
    name := (select x.queue from "made_by_b451a97".jobs x where x.state in (1, 3, 4, 5) and x.queue > name
      order by x.queue limit 1);
  end loop;
  return array(select n.queue collate "C" from unnest(names
    || array(select distinct x.queue from "made_by_b451a97".jobs x where x.state = 2)
    || array(select distinct x.queue from "made_by_b451a97".jobs x where x.behind is not null)) as n(queue) group by 1 order by 1);
end $$;
--
-- Name: queues_v1(); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.queues_v1() RETURNS TABLE(queue text, paused boolean, shown smallint, n bigint, oldest bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  t bigint := "made_by_b451a97".clock_v1();
begin
  return query
  select q.queue, exists (select from "made_by_b451a97".paused p where p.queue = q.queue), q.shown, q.n, q.oldest
  from (
    select j.queue, "made_by_b451a97".shown_v1(j.state, j.behind, j.run_at, t) as shown, count(*) as n, min(j.run_at) as oldest
    from "made_by_b451a97".jobs j group by 1, 2
    union all
    select p.queue, null, 0, null from "made_by_b451a97".paused p
  ) q
  order by q.queue;
end $$;
--
-- Name: queues_v2(integer); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.queues_v2(most integer) RETURNS TABLE(now bigint, queue text, paused boolean, shown smallint, n bigint, at_least boolean, oldest bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  t bigint := "made_by_b451a97".clock_v1();
  name text;
  is_paused boolean;
  due bigint;
  first bigint;    -- the earliest run time of what is due
  looked bigint;   -- how many that are due later were looked at
  later bigint;    -- how many of these are scheduled
  retried bigint;  -- how many are retryable and due later
  ended smallint;
begin
  foreach name in array "made_by_b451a97".queue_names_v1() loop
    is_paused := exists (select from "made_by_b451a97".paused p where p.queue = name);
    return query select t, name, is_paused, 0::smallint, 0::bigint, false, null::bigint;

    due := (select count(*) from (
      select from generate_series(0::bigint, 9::bigint) as p
      cross join lateral (select from "made_by_b451a97".jobs x where x.queue = name and x.state <= 1 and x.behind is null
        and (x.priority::bigint << 48) + x.run_at >= p << 48
        and (x.priority::bigint << 48) + x.run_at <= (p << 48) + t limit most + 1) y limit most + 1) z);
    first := (select min(y.run_at) from generate_series(0::bigint, 9::bigint) as p
      cross join lateral (select x.run_at from "made_by_b451a97".jobs x where x.queue = name and x.state <= 1 and x.behind is null
        and (x.priority::bigint << 48) + x.run_at >= p << 48
        and (x.priority::bigint << 48) + x.run_at <= (p << 48) + t
        order by (x.priority::bigint << 48) + x.run_at, x.id limit 1) y);
    return query select t, name, is_paused, 6::smallint, least(due, most), due > most, first where due > 0;

    retried := (select count(*) from (select from "made_by_b451a97".jobs x where x.queue = name and x.state = 1 and x.run_at > t
      limit most + 1) y);
    return query select t, name, is_paused, 1::smallint, least(retried, most), retried > most, null::bigint
      where retried > 0;

    -- Those that are due later are scheduled or retryable: as many more are
    -- looked at as there are retryable ones among them.
    select count(*), count(*) filter (where z.state = 0) into looked, later from (
      select y.state from generate_series(0::bigint, 9::bigint) as p
      cross join lateral (select x.state from "made_by_b451a97".jobs x where x.queue = name and x.state <= 1 and x.behind is null
        and (x.priority::bigint << 48) + x.run_at > (p << 48) + t
        and (x.priority::bigint << 48) + x.run_at < (p + 1) << 48 limit most + 1 + retried) y
      limit most + 1 + retried) z;
    later := later + (select count(*) from (select from "made_by_b451a97".jobs x where x.queue = name and x.behind is not null
      limit most + 1) y);
    return query select t, name, is_paused, 0::smallint, least(later, most), later > most or looked > most + retried,
      null::bigint where later > 0 or looked > most + retried;

    foreach ended in array array[3, 4, 5]::smallint[] loop
      return query select t, name, is_paused, ended, least(c.n, most), c.n > most, null::bigint
      from (select count(*) as n from (select from "made_by_b451a97".jobs x where x.queue = name and x.state = ended
        and x.state in (1, 3, 4, 5) limit most + 1) y) c where c.n > 0;
    end loop;
  end loop;
  return query select t, x.queue, exists (select from "made_by_b451a97".paused p where p.queue = x.queue), 2::smallint, count(*),
    false, null::bigint from "made_by_b451a97".jobs x where x.state = 2 group by x.queue;
  return query select t, ''::text, false, 0::smallint, 0::bigint, false, null::bigint;
end $$;
--
-- Name: reaction_v1(bigint, smallint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.reaction_v1(reactions bigint, shown smallint) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select ((reactions >> case shown when 0 then 0 when 6 then 3 when 1 then 6 when 2 then 9 else 12 end) & 7)::integer
$$;
--
-- Name: release_v1(integer, bytea); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.release_v1(patience integer, name bytea) RETURNS TABLE(outcome integer, holder text, behind text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return query select * from "made_by_b451a97".release_v2(patience, name, null);
end $$;
--
-- Name: release_v2(integer, bytea, text); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.release_v2(patience integer, name bytea, of_holder text) RETURNS TABLE(outcome integer, holder text, behind text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  now bigint;
  k "made_by_b451a97".keys;
  h "made_by_b451a97".jobs;
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception
      'onceq: this ran above READ COMMITTED: alter role % set default_transaction_isolation = ''read committed'';',
      quote_ident(current_user)
      using errcode = 'OQ002';
  end if;
  perform set_config('lock_timeout', patience::text, true);
  perform from "made_by_b451a97".jobs y where y.id in (
    select coalesce(z.behind, z.id) from "made_by_b451a97".keys k
    cross join lateral (values (k.holder), (k.next)) v(id)
    cross join lateral (select z.id, z.behind from "made_by_b451a97".jobs z where z.id = v.id limit 1) z
    where k.key = name) order by y.id for update;
  now := "made_by_b451a97".clock_v1();
  select * into k from "made_by_b451a97".keys y where y.key = name;
  if not found or k.frees_at <= now and k.next is null then
    return query select 1, null::text, null::text;
    return;
  end if;
  if k.gone is null then
    select y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace into h from "made_by_b451a97".jobs y where y.id = k.holder for update skip locked;
    if not found then
      raise exception 'onceq: again' using errcode = 'OQ001';
    end if;
  end if;
  select * into k from "made_by_b451a97".keys y where y.key = name for update;
  if not found or k.gone is null and k.holder is distinct from h.id then
    raise exception 'onceq: again' using errcode = 'OQ001';
  end if;
  k := "made_by_b451a97".settle_v1(k, now);
  if k.holder <> of_holder then
    return query select 1, null::text, null::text;
    return;
  end if;
  if k.gone is null then
    select y.enqueued_at, y.run_at, y.retention, y.run, y.anchor, y.started_at, y.finished_at, y.fetch_no, y.timeout, y.hold_window, y.hold_ttl, y.attempt, y.max_attempts, y.state, y.priority, y.hold_until, y.origin, y.raw, y.cancel_requested, y.keyless, y.from_enqueue, y.id, y.kind, y.queue, y.key, y.nonce, y.digest, case when right(y.key_text, 1) = E'\x02' then y.args else '' end, y.key_text, y.worker, y.behind, y.displaced, y.superseded_by, y.meta, y.tags, y.errors, null::bytea, y.trace into h from "made_by_b451a97".jobs y where y.id = k.holder;
    if h.behind is not null then
      return query select 2, h.id, h.behind;
      return;
    end if;
    update "made_by_b451a97".jobs y set keyless = true where y.id = h.id;
  end if;
  if k.next is null then
    delete from "made_by_b451a97".keys y where y.key = name;
  else
    k.pending := (select "made_by_b451a97".pending_v1(w.hold_until) from "made_by_b451a97".jobs w where w.id = k.next);
    k.holder := k.next;
    k.next := null;
    k.since := now;
    k.gone := null;
    k.frees_at := null;
    perform "made_by_b451a97".put_v1(k, now);
  end if;
  return query select 0, null::text, null::text;
end $$;
--
-- Name: remove_v1(made_by_b451a97.jobs, boolean, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.remove_v1(j made_by_b451a97.jobs, pruned boolean, now bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  k "made_by_b451a97".keys;
begin
  delete from "made_by_b451a97".jobs where id = j.id;
  if j.key is null then
    return;
  end if;
  select * into k from "made_by_b451a97".keys where key = j.key;
  if not found or k.holder <> j.id or k.gone is not null then
    return;
  elsif k.frees_at <= now and k.next is null then
    delete from "made_by_b451a97".keys where ctid = (select x.ctid from "made_by_b451a97".keys x
      where x.key = j.key and x.holder = j.id and x.next is null and x.frees_at <= now for update skip locked);
    return;
  end if;
  if pruned and j.hold_ttl is null and k.pending <> 0 then
    k.pending := 0;
    k.frees_at := "made_by_b451a97".rest_v1(j.hold_window, j.hold_ttl, j.anchor);
  end if;
  k.since := coalesce(k.since, j.enqueued_at);
  k.gone := "made_by_b451a97".gone_v1(j);
  perform "made_by_b451a97".put_v1(k, now);
end $$;
--
-- Name: rest_v1(bigint, bigint, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.rest_v1(hold_window bigint, hold_ttl bigint, anchor bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select least(anchor + coalesce(hold_window, 0), anchor + hold_ttl)
$$;
--
-- Name: rows_v1(bigint, integer, integer[], text[], bytea[], text[], text[], bytea[], text[], text[], bytea[], text[], bytea[], bigint[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.rows_v1(now bigint, n integer, met integer[], ids text[], nonces bytea[], kinds text[], queues text[], args bytea[], metas text[], tags text[], keys bytea[], texts text[], digests bytea[], nums bigint[]) RETURNS SETOF made_by_b451a97.jobs
    LANGUAGE sql STABLE
    AS $$
  select now, r.run_at, nullif(nums[i * 14 - 10], 86400000), null::bigint, null::bigint, null::bigint, null::bigint,
    null::bigint,
    nullif(nums[i * 14 - 11], 0), nullif(nums[i * 14 - 5], 0), nullif(nums[i * 14 - 4], 0), null::integer,
      nums[i * 14 - 12]::integer, 0::smallint, nums[i * 14 - 13]::smallint,
    nullif(nums[i * 14 - 6], 0)::smallint, null::smallint, nums[i * 14 - 7] <> 0, false, false,
      nullif(nums[i * 14 - 3] <> 0, false),
    ids[i], kinds[i], queues[i], nullif(keys[i], ''), nonces[i], nullif(digests[i], ''), args[i], nullif(texts[i], ''),
      null::text, null::text, null::text, null::text,
    nullif(metas[i], '')::json, nullif(tags[i], '')::json, null::json, null::bytea, null::text
  from (
    select i, greatest(now, case when nums[i * 14 - 8] <> 0 then nums[i * 14 - 8] else now + nums[i * 14 - 9] end) as run_at
    from generate_series(1, n) i
    where met is null or i not in (select unnest(met))
    offset 0) r
$$;
--
-- Name: running_v1(text, integer); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.running_v1(of_worker text, most integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
begin
  if of_worker = '' then
    return (select count(*) from (select from "made_by_b451a97".jobs x where x.state = 2 limit most) y);
  end if;
  return (select count(*) from (select from "made_by_b451a97".jobs x where x.worker = of_worker and x.state = 2 limit most) y);
end $$;
--
-- Name: save_all_v1(made_by_b451a97.jobs); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.save_all_v1(j made_by_b451a97.jobs) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  update "made_by_b451a97".jobs set (run_at, retention, anchor, timeout, hold_window, hold_ttl, max_attempts, priority,
      hold_until, raw, from_enqueue, kind, queue, key, digest, args, key_text, meta, tags)
    = (j.run_at, j.retention, j.anchor, j.timeout, j.hold_window, j.hold_ttl, j.max_attempts, j.priority,
      j.hold_until, j.raw, j.from_enqueue, j.kind, j.queue, j.key, j.digest, j.args, j.key_text, j.meta, j.tags)
    where id = j.id;
end $$;
--
-- Name: save_v1(made_by_b451a97.jobs); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.save_v1(j made_by_b451a97.jobs) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  update "made_by_b451a97".jobs set (run_at, retention, anchor, finished_at, timeout, hold_window, hold_ttl, attempt, max_attempts,
    state, priority,
      hold_until, raw, cancel_requested, keyless, from_enqueue, kind, queue, key, digest, key_text, worker, behind,
        superseded_by,
      meta, tags, errors)
    = (j.run_at, j.retention, j.anchor, j.finished_at, j.timeout, j.hold_window, j.hold_ttl, j.attempt, j.max_attempts,
      j.state, j.priority,
      j.hold_until, j.raw, j.cancel_requested, j.keyless, j.from_enqueue, j.kind, j.queue, j.key, j.digest, j.key_text,
        j.worker,
      j.behind, j.superseded_by, j.meta, j.tags, j.errors)
    where id = j.id;
end $$;
--
-- Name: settle_v1(made_by_b451a97.keys, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.settle_v1(INOUT k made_by_b451a97.keys, now bigint) RETURNS made_by_b451a97.keys
    LANGUAGE plpgsql
    AS $$
begin
  if k.next is null or k.frees_at is null or now < k.frees_at then
    return;
  end if;
  k.holder := k.next;
  k.next := null;
  k.since := k.frees_at;
  k.gone := null;
  k.pending := (select "made_by_b451a97".pending_v1(w.hold_until) from "made_by_b451a97".jobs w where w.id = k.holder);
  k.frees_at := null;
end $$;
--
-- Name: shown_v1(smallint, text, bigint, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.shown_v1(state smallint, behind text, run_at bigint, now bigint) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case when state <= 1 and behind is null and run_at <= now then 6::smallint else state end
$$;
--
-- Name: start_v1(made_by_b451a97.jobs, text, bigint, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.start_v1(j made_by_b451a97.jobs, who text, no bigint, now bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  rest bigint := "made_by_b451a97".rest_v1(j.hold_window, j.hold_ttl,
    "made_by_b451a97".anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at));
begin
  update "made_by_b451a97".jobs y set state = 2, attempt = coalesce(y.attempt, 0) + 1, run = coalesce(y.run, 0) + 1,
    run_at = j.run_at, keyless = j.keyless,
    anchor = "made_by_b451a97".anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at),
    started_at = now, worker = who, fetch_no = no
  where y.id = j.id;
  if j.hold_until = 2 and rest > now then -- the first fetch is the event
    update "made_by_b451a97".keys k set pending = 0, frees_at = rest where k.key = j.key and k.holder = j.id and k.pending = 2
      and k.gone is null and (k.frees_at is null or k.frees_at > now);
  elsif j.hold_until = 2 then
    delete from "made_by_b451a97".keys k where k.key = j.key and k.holder = j.id and k.pending = 2 and k.gone is null;
  end if;
end $$;
--
-- Name: started_v2(text, bigint, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.started_v2(of_worker text, of_fetch bigint, now bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  with free as (
    select k.ctid as tid, "made_by_b451a97".rest_v1(j.hold_window, j.hold_ttl, j.anchor) as rest
    from "made_by_b451a97".jobs j
    cross join lateral (select k.ctid from "made_by_b451a97".keys k
      where k.key = j.key and k.holder = j.id and k.pending = 2 and k.gone is null
        and (k.frees_at is null or k.frees_at > now) limit 1) k
    where j.state = 2 and j.worker = of_worker and j.fetch_no = of_fetch and j.hold_until = 2
  ), kept as (
    update "made_by_b451a97".keys k set pending = 0, frees_at = free.rest from free
      where k.ctid = free.tid and free.rest > now and k.pending = 2
  )
  delete from "made_by_b451a97".keys k using free where k.ctid = free.tid and free.rest <= now and k.pending = 2;
end $$;
--
-- Name: stop_v1(made_by_b451a97.jobs, text, bigint); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.stop_v1(j made_by_b451a97.jobs, stopped_by text, now bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  if j.retention = 0 then
    delete from "made_by_b451a97".jobs where id = j.id;
    return;
  end if;
  j.behind := null;
  j.superseded_by := stopped_by;
  j.keyless := true;
  j.state := 5;
  j.cancel_requested := false;
  j.finished_at := now;
  j.anchor := least("made_by_b451a97".anchor_of_v1(j.anchor, j.key, j.from_enqueue, j.enqueued_at, j.run_at), now);
  perform "made_by_b451a97".save_v1(j);
end $$;
--
-- Name: sweep_v1(integer, text[], bigint[]); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.sweep_v1(most integer, lost text[], beats bigint[]) RETURNS SETOF made_by_b451a97.swept_v1
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
declare
  now bigint := "made_by_b451a97".clock_v1();
  x integer;
  taken integer := 0;
  got integer;
  more boolean := false;
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception
      'onceq: this ran above READ COMMITTED: alter role % set default_transaction_isolation = ''read committed'';',
      quote_ident(current_user)
      using errcode = 'OQ002';
  end if;
  for x in 1..coalesce(cardinality(lost), 0) loop
    if exists (select from "made_by_b451a97".workers w where w.name = lost[x] and (w.beat <> beats[x] or w.lease_ends > now))
      or beats[x] <> -1 and not exists (select from "made_by_b451a97".workers w where w.name = lost[x]) then
      continue;
    end if;
    return query select 2, lost[x], now, 0::bigint, row(j.enqueued_at, j.run_at, j.retention, j.run, j.anchor, j.started_at, j.finished_at, j.fetch_no, j.timeout, j.hold_window, j.hold_ttl, j.attempt, j.max_attempts, j.state, j.priority, j.hold_until, j.origin, j.raw, j.cancel_requested, j.keyless, j.from_enqueue, j.id, j.kind, j.queue, j.key, j.nonce, j.digest, case when right(j.key_text, 1) = E'\x02' then j.args else '' end, j.key_text, j.worker, j.behind, j.displaced, j.superseded_by, j.meta, j.tags, j.errors, null::bytea, j.trace)::"made_by_b451a97".jobs from "made_by_b451a97".jobs j
      where j.state = 2 and j.worker = lost[x]
      order by j.id limit most - taken;
    get diagnostics got = row_count;
    taken := taken + got;
    if not exists (select from "made_by_b451a97".jobs j where j.state = 2 and j.worker = lost[x]) then
      delete from "made_by_b451a97".workers w where w.name = lost[x] and w.beat = beats[x] and w.lease_ends <= now;
    elsif taken = most and (select count(*) from "made_by_b451a97".jobs j
      where j.state = 2 and j.worker = lost[x]) > got then
      more := true;
    end if;
  end loop;
  return query select 1, w.name, now, w.beat, null::"made_by_b451a97".jobs from "made_by_b451a97".workers w where w.lease_ends <= now;
  return query select 1, s.worker, now, -1::bigint, null::"made_by_b451a97".jobs
    from (select distinct j.worker from "made_by_b451a97".jobs j where j.state = 2) s
    where not exists (select from "made_by_b451a97".workers w where w.name = s.worker);

  -- Finished jobs whose retention is over. With a TTL the key stays, and
  -- keeps what is known of its holder; without one this is the event.
  with l as materialized (
    select j.ctid as tid, row(j.enqueued_at, j.run_at, j.retention, j.run, j.anchor, j.started_at, j.finished_at, j.fetch_no, j.timeout, j.hold_window, j.hold_ttl, j.attempt, j.max_attempts, j.state, j.priority, j.hold_until, j.origin, j.raw, j.cancel_requested, j.keyless, j.from_enqueue, j.id, j.kind, j.queue, j.key, j.nonce, j.digest, case when right(j.key_text, 1) = E'\x02' then j.args else '' end, j.key_text, j.worker, j.behind, j.displaced, j.superseded_by, j.meta, j.tags, j.errors, null::bytea, j.trace)::"made_by_b451a97".jobs as job, j.id, j.key, j.enqueued_at, j.hold_window, j.hold_ttl, j.anchor,
      j.finished_at, j.retention from "made_by_b451a97".jobs j
        where j.state >= 3 and j.finished_at + coalesce(j.retention, 86400000) <= now
    order by j.finished_at + coalesce(j.retention, 86400000) limit most + 1 for update skip locked
  ), p as materialized (
    select * from l limit most
  ), h as (
    select k.tid, p.enqueued_at, "made_by_b451a97".gone_v1(p.job) as gone,
      case when pruned then 0::smallint else k.pending end as pending,
      case when pruned then "made_by_b451a97".rest_v1(p.hold_window, p.hold_ttl, p.anchor) else k.frees_at end as frees_at
    from p
    cross join lateral (select k.ctid as tid, k.pending, k.frees_at from "made_by_b451a97".keys k
      where p.key is not null and k.key = p.key and k.holder = p.id and k.gone is null and k.next is null
        and (k.frees_at is null or k.frees_at > now) limit 1) k
    cross join lateral (select p.hold_ttl is null and k.pending <> 0 as pruned) q
  ), freed as (
    delete from "made_by_b451a97".keys k using h where k.ctid = h.tid and h.frees_at <= now
  ), kept as (
    update "made_by_b451a97".keys k set pending = h.pending, frees_at = h.frees_at, since = coalesce(k.since, h.enqueued_at),
      gone = h.gone
    from h where k.ctid = h.tid and (h.frees_at is null or h.frees_at > now)
  ), d as (
    delete from "made_by_b451a97".jobs j using p where j.ctid = p.tid returning 1
  )
  select (select count(*) from d), more or (select count(*) from l) > most into got, more;
  return query select 3, null::text, now, got::bigint, null::"made_by_b451a97".jobs;

  with l as materialized (
    select k.ctid as tid from "made_by_b451a97".keys k where k.frees_at <= now and k.next is null
    order by k.frees_at limit most + 1 for update skip locked
  ), d as (
    delete from "made_by_b451a97".keys k using (select * from l limit most) x where k.ctid = x.tid returning 1
  )
  select (select count(*) from d), more or (select count(*) from l) > most into got, more;
  return query select 4, null::text, now, got::bigint, null::"made_by_b451a97".jobs;
  if more then
    return query select 5, null::text, now, 0::bigint, null::"made_by_b451a97".jobs;
  end if;
end $$;
--
-- Name: text_v1(made_by_b451a97.jobs); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.text_v1(j made_by_b451a97.jobs) RETURNS text
    LANGUAGE plpgsql STABLE
    AS $$
declare
  text text := replace(replace(j.key_text, E'\x01', 'kind=' || j.kind), E'\x03', 'queue=' || j.queue);
begin
  if right(text, 1) = E'\x02' then
    text := left(text, -1) || E'\x04' || convert_from(j.args, 'UTF8');
  end if;
  return text;
end $$;
--
-- Name: waiting_v1(text, integer); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.waiting_v1(of_queue text, most integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
begin
  if of_queue = '' then
    return (select count(*) from (select from "made_by_b451a97".jobs x where x.state <= 1 and x.behind is null limit most) y);
  end if;
  return (select count(*) from (select from "made_by_b451a97".jobs x where x.queue = of_queue and x.state <= 1 and x.behind is null
    limit most) y);
end $$;
--
-- Name: worker_lock_v2(text); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.worker_lock_v2(worker text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select hashtextextended(worker, hashtextextended('made_by_b451a97', 0))
$$;
--
-- Name: workers_v1(); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.workers_v1() RETURNS TABLE(now bigint, name text, since bigint, beat_at bigint, lease_ends bigint, about bytea, running bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
  t bigint := "made_by_b451a97".clock_v1();
begin
  return query select t, w.name, w.since, w.beat_at, w.lease_ends, w.about, "made_by_b451a97".running_v1(w.name, null)
    from "made_by_b451a97".workers w order by w.name;
end $$;
--
-- Name: write_v1(made_by_b451a97.jobs, bigint, made_by_b451a97.jobs); Type: FUNCTION; Schema: made_by_b451a97; Owner: -
--

CREATE FUNCTION made_by_b451a97.write_v1(INOUT h made_by_b451a97.jobs, fields bigint, j made_by_b451a97.jobs) RETURNS made_by_b451a97.jobs
    LANGUAGE plpgsql
    AS $$
begin
  if fields & 1 <> 0 then
    h.key_text := "made_by_b451a97".text_v1(h); -- keeps the text of the args that took the key
    h.args := j.args;
    h.raw := j.raw;
    h.digest := j.digest;
  end if;
  if fields & 2 <> 0 then
    h.meta := j.meta;
  end if;
  if fields & 4 <> 0 then
    h.priority := j.priority;
  end if;
  if fields & 16 <> 0 then
    h.max_attempts := j.max_attempts;
  end if;
  if fields & 32 <> 0 then
    h.tags := j.tags;
  end if;
end $$;
--
-- Name: migrations; Type: TABLE; Schema: made_by_b451a97; Owner: -
--

CREATE TABLE made_by_b451a97.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    applied timestamp with time zone DEFAULT now() NOT NULL
);
--
-- Name: paused; Type: TABLE; Schema: made_by_b451a97; Owner: -
--

CREATE TABLE made_by_b451a97.paused (
    queue text NOT NULL COLLATE pg_catalog."C"
);
--
-- Name: workers; Type: TABLE; Schema: made_by_b451a97; Owner: -
--

CREATE TABLE made_by_b451a97.workers (
    name text NOT NULL COLLATE pg_catalog."C",
    lease_ends bigint NOT NULL,
    beat bigint NOT NULL,
    since bigint,
    beat_at bigint,
    about bytea
)
WITH (fillfactor='50');
--
-- Data for Name: jobs; Type: TABLE DATA; Schema: made_by_b451a97; Owner: -
--

INSERT INTO made_by_b451a97.jobs VALUES (1767225600004, 1767225600004, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, NULL, NULL, false, false, false, NULL, 'waiting', 'order', 'default', NULL, '\x3b6a07f07e573fd77355c2ee307fbb0c', NULL, '\x7b2273686f70223a2261222c226e756d626572223a312c226e6f7465223a22227d', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600005, 1767225600005, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 3, NULL, false, false, false, NULL, 'unique', 'order', 'default', '\x6094cbf0231123a63b8a29b98ee9d980666339ca0924417367f9d41a6f30f650', '\xc50ff24c686ff73826ef1c3e64fc1c7b', '\x5c7f4f3da82f1a8ac1454fc0d67ac281', '\x7b2273686f70223a2261222c226e756d626572223a322c226e6f7465223a225c7532303238227d', '  args=', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600006, 1767225600006, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 3, NULL, false, false, false, NULL, 'fields', 'order', 'default', '\x3c80fb6dee52fac00f38c8af4f2648ee752346c4f05367d2a6287c05b83aed9b', '\x08f5226f89dea2c4b9eb1dbf7180f94f', '\x953a0aa1b611a556885ec792b2f33b7b', '\x7b2273686f70223a2261222c226e756d626572223a332c226e6f7465223a2278227d', '  fields /number=3 /shop="a"', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600006, 3787009445006, 1576800000000, NULL, NULL, NULL, NULL, NULL, 60000, NULL, NULL, NULL, 3, 0, 9, 3, NULL, false, false, false, NULL, 'scheduled', 'order', 'default', '\xd609557d73d4f03ab099d391cd267de6f74182d2e4179429530f1bf74917814b', '\x50b8ff5c6e89c2a089bd1336ee19377c', '\xca0d89969aba9429e89732a6717adaad', '\x7b2273686f70223a2261222c226e756d626572223a342c226e6f7465223a22227d', '  args=', NULL, NULL, NULL, NULL, '{"n":12345678901234567,"é":[null,true,"x"]}', '["one","t\"wo"]', NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600008, 3787009445006, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 1, NULL, false, false, false, NULL, 'until due', 'order', 'default', '\xe8c8caa763e2acccab23710f0fd2541a5ed20c18e1d566c82f3d5936b741e4ec', '\xbc7fefe8e77ca84fdfdc4f8eceab4338', '\x0b0537774c9f0d456ae13bd99b3df240', '\x7b2273686f70223a2261222c226e756d626572223a352c226e6f7465223a22227d', '  args=', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600010, 1767225600010, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, 1576800000000, NULL, NULL, 25, 0, 5, 7, NULL, false, false, false, true, 'window', 'order', 'default', '\x699aac9e7f92bc0ff512db24a481df334cc59436442bd5b4001930db62c2bd73', '\x6fbe8265f4572e2936d361882ecf6b1b', '\x8ac8a2c58fe8d78ef1e6addcd0848bf7', '\x7b2273686f70223a2261222c226e756d626572223a362c226e6f7465223a22227d', '  args=', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600010, 3787009445006, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1576800000000, NULL, 25, 0, 5, 3, NULL, false, false, false, NULL, 'ttl', 'order', 'default', '\x9f5ae581de7cded741c9789136d2c15c271315447772573ae86375dce46f611c', '\xf3cb214879f0153ecf2c2983b7861a17', '\x7e4f8cae7fe36d8757a939d47cdcfc3c', '\x7b2273686f70223a2261222c226e756d626572223a372c226e6f7465223a22227d', '  args=', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600011, 1767225600011, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 3, NULL, true, false, false, NULL, 'raw', 'raw', 'default', '\x2edb862f46593c90719497eb48d712a34c0a0750c979a38bbb1b26e05636d1e0', '\x2671f1cd06152bf86feef5294fcafd34', '\xa268320c9ff147ba75d1be1182ca327f', '\x0001ff5c22', '  args=bytes(5)"\x00\x01\xff\\\""', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600011, 1767225600011, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 3, NULL, false, false, false, NULL, 'large', 'order', 'default', '\x3f53c12d168e2093a071021b7a88aebebfa884d88afb5438f6032dce58264c5a', '\x462985f68d471b1419a8d5c7928020e7', '\x5faa05d0ab88e37eebb46a3af13b3b2c', '\x7b2273686f70223a2261222c226e756d626572223a382c226e6f7465223a226c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e67206c6f6e6720227d', '  args={"note":"long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long lo…', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600011, 1767225600011, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 3, NULL, false, false, false, NULL, 'own key', 'order', 'default', '\x1fef38d49d66f4ebd61635f078f8b92309f7c350f0567281d8c1afa8df473c5a', '\x5587ea89a41f3966da0eb91206415427', '\x8231c7d340460134934f626f276f5b7e', '\x7b2273686f70223a2261222c226e756d626572223a392c226e6f7465223a22227d', ' key="kind=x queue=y args={}\u0001\u0002"', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600012, 3787009445006, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 1, 3, NULL, false, false, false, NULL, 'replaced', 'order', 'default', '\x5a3fb04ef777755c6d7d08cca66342d1d51a753ee8fbeac1a5356e58a5e92726', '\xd13071d35fb24e33685177feb61e4d13', '\x3cc8f7f81602d57e1d087833b1beee6f', '\x7b2273686f70223a2262222c226e756d626572223a31302c226e6f7465223a226e6577227d', 'kind=order key="replaced"', NULL, NULL, NULL, NULL, '{"m":1}', '["new"]', NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600017, 2161425600018, 1576800000000, NULL, 2161425600018, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 2, NULL, false, false, false, NULL, 'debounced', 'order', 'default', '\x299300f5eaf2a5580d36b7c10143e09933ad502fb29981b6af654b154f545d56', '\xd5ff51a1f33a79ec6e1cac77e146b69e', '\x9ea2f594dc51d7716d7dbd50caea4843', '\x7b2273686f70223a2261222c226e756d626572223a31312c226e6f7465223a226e6577227d', 'kind=order queue=default fields /number=11 /shop="a"', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600019, 1767225600019, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, NULL, NULL, false, false, false, NULL, 'paused', 'order', 'paused queue', NULL, '\x50594ada82f47b0ede82bb3d67843f02', NULL, '\x7b2273686f70223a2270222c226e756d626572223a312c226e6f7465223a22227d', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600025, 1767225600025, 1576800000000, 1, 1767225600025, 1767225600026, NULL, 1, NULL, NULL, NULL, 1, 25, 2, 5, 3, NULL, false, false, false, NULL, 'running', 'order', 'running', '\xebc61a157b82815389ca4739443579298763e7bb24dac4b1966a45416fbed77e', '\x876fe3a547a57872a6170a68d11cecda', '\xf2b9235bf3b94aa43dcba7c02ce81cc8', '\x7b2273686f70223a2272756e222c226e756d626572223a312c226e6f7465223a22227d', '  fields /shop="run"', 'host-1-abcdef', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600029, 1767225600029, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 3, 4, false, false, false, NULL, 'waiter', 'order', 'running', '\xebc61a157b82815389ca4739443579298763e7bb24dac4b1966a45416fbed77e', '\x2163c8fdb83cc934b07dfe79364bcd92', '\x7c5726959da41ead7674de76130237de', '\x7b2273686f70223a2272756e222c226e756d626572223a322c226e6f7465223a22626568696e64227d', '  fields /shop="run"', NULL, 'running', 'running', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600030, 3787009445006, 1576800000000, NULL, 1767225600031, NULL, 1767225600031, NULL, NULL, NULL, NULL, NULL, 25, 5, 5, 3, NULL, false, false, true, NULL, 'superseded', 'order', 'running', '\xd9782756bdce356ea43faee5dae6a677a1ee3be9a5fc78859cfd4288b2e94a32', '\x302e53d3803641963f33003f6961ba91', '\x6e70c5803e6955c03bb5e7ff0c51afac', '\x7b2273686f70223a22737570222c226e756d626572223a312c226e6f7465223a22227d', '  fields /shop="sup"', NULL, NULL, NULL, 'supersedes', NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600031, 1767225600031, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 3, 5, false, false, false, NULL, 'supersedes', 'order', 'running', '\xd9782756bdce356ea43faee5dae6a677a1ee3be9a5fc78859cfd4288b2e94a32', '\xd6eff98d957745bd573a3e7e01e26544', '\x96088dd8d1872bb6a5a2de0ed5865099', '\x7b2273686f70223a22737570222c226e756d626572223a322c226e6f7465223a22227d', '  fields /shop="sup"', NULL, NULL, 'superseded', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600033, 1767225600033, 1576800000000, 1, 1767225600033, 1767225600033, NULL, 2, NULL, NULL, NULL, 1, 25, 2, 0, 3, NULL, false, true, false, NULL, 'asked to stop', 'order', 'running', '\xdd7b2274119998b1535576aebb96200ad527ab5466d425fe675d9d57ba9001ee', '\x54aded3cea0f61a692f41c14c82e637a', '\xcbd18c91fc33f5a1996fbdfa5cf6d0d3', '\x7b2273686f70223a2273746f70222c226e756d626572223a312c226e6f7465223a22227d', '  fields /shop="stop"', 'host-1-abcdef', NULL, NULL, 'stands behind', NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600034, 1767225600034, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 3, 5, false, false, false, NULL, 'stands behind', 'order', 'running', '\xdd7b2274119998b1535576aebb96200ad527ab5466d425fe675d9d57ba9001ee', '\x9fca23da5cbe3a34a28914cb68364004', '\x09ce0af608752e085938ea513636fa49', '\x7b2273686f70223a2273746f70222c226e756d626572223a322c226e6f7465223a22227d', '  fields /shop="stop"', NULL, 'asked to stop', 'asked to stop', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600036, 1767225600044, 1576800000000, 6, 1767225600036, 1767225600043, NULL, 8, NULL, NULL, NULL, 6, 25, 1, 5, 3, NULL, false, false, false, NULL, 'retryable', 'order', 'retry', '\x10343c9f6fa2349f827697b0909e8ca4f641cff4ad3c6e21247120ebadf93192', '\x7ae62475ffdbb7101b3cad5599c49379', '\x4e4ee93ba1e14d5362555f34587f6a54', '\x7b2273686f70223a227265747279222c226e756d626572223a312c226e6f7465223a22227d', '  args=', 'host-1-abcdef', NULL, NULL, NULL, NULL, NULL, '[{"attempt":2,"run":2,"at":1767225600040,"error":"attempt 2"},{"attempt":3,"run":3,"at":1767225600041,"error":"attempt 3"},{"attempt":4,"run":4,"at":1767225600042,"error":"attempt 4"},{"attempt":5,"run":5,"at":1767225600043,"error":"attempt 5"},{"attempt":6,"run":6,"at":1767225600044,"error":"attempt 6"}]', NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600044, 2555625600045, 1576800000000, 1, 1767225600044, 1767225600044, NULL, 9, NULL, NULL, NULL, 0, 25, 0, 0, 2, NULL, false, false, false, NULL, 'snoozed', 'order', 'retry', '\xed369a8ac9b1854b6280862b2ded1cf3506893526fc010d4d9f533c761008d55', '\x3d3d187d94e4ac2b05d9e374c25a182c', '\x0a3520023304f2ee8e63a2172a248303', '\x7b2273686f70223a227265747279222c226e756d626572223a322c226e6f7465223a22227d', '  args=', 'host-1-abcdef', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600046, 1767225600046, 1576800000000, 1, 1767225600046, 1767225600046, 1767225600046, 10, NULL, NULL, NULL, 1, 25, 3, 5, 3, NULL, false, false, false, NULL, 'completed', 'order', 'q completed', '\xa75f183d757a3fa129a990b0a824c45b132357b2f38cfd90d784069b77a8071f', '\xc50a00c6e5a9fe73f160c587c9643b55', '\xf086b76cd5a9233f5900010fdcf269f2', '\x7b2273686f70223a22656e646564222c226e756d626572223a392c226e6f7465223a225c75303033635c75303032365c753030336520c3a920e6bca2205c225c5c227d', ' key="key completed"', 'host-1-abcdef', NULL, NULL, NULL, NULL, NULL, '[{"attempt":1,"run":1,"at":1767225600046,"error":"it \"failed\"\n\u0000","stack":"main.go:1"}]', '\x7b226e223a317d', NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600048, 1767225600048, 1576800000000, 1, 1767225600048, 1767225600048, 1767225600049, 11, NULL, NULL, NULL, 1, 25, 4, 5, 4, NULL, false, false, false, NULL, 'discarded', 'order', 'q discarded', '\x0f8649d5394e2cd115a6535b4e15cbb1c574ac417073755c206e5cd0caca222e', '\xdea3b9714103f0dc035c5e380147179f', '\xf086b76cd5a9233f5900010fdcf269f2', '\x7b2273686f70223a22656e646564222c226e756d626572223a392c226e6f7465223a225c75303033635c75303032365c753030336520c3a920e6bca2205c225c5c227d', ' key="key discarded"', 'host-1-abcdef', NULL, NULL, NULL, NULL, NULL, '[{"attempt":1,"run":1,"at":1767225600049,"error":"it \"failed\"\n\u0000","stack":"main.go:1"}]', '\x7b226e223a317d', NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600049, 1767225600049, 1576800000000, 1, 1767225600049, 1767225600050, 1767225600050, 12, NULL, NULL, NULL, 1, 25, 5, 5, 6, NULL, false, false, false, NULL, 'cancelled', 'order', 'q cancelled', '\x4fb696510d999fcbf5418722413244347b47bc70ae754c7f6770cb48cf9ec3cc', '\x3f22645c1edad3d9b07f9ab6ef721329', '\xf086b76cd5a9233f5900010fdcf269f2', '\x7b2273686f70223a22656e646564222c226e756d626572223a392c226e6f7465223a225c75303033635c75303032365c753030336520c3a920e6bca2205c225c5c227d', ' key="key cancelled"', 'host-1-abcdef', NULL, NULL, NULL, NULL, NULL, '[{"attempt":1,"run":1,"at":1767225600050,"error":"it \"failed\"\n\u0000","stack":"main.go:1"}]', '\x7b226e223a317d', NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600051, 1767225600051, 1576800000000, 1, 1767225600051, 1767225600051, 1767225600051, 13, NULL, NULL, NULL, 1, 25, 3, 5, 5, NULL, false, false, false, NULL, 'kept', 'order', 'q kept', '\xb3126185daa2f7d87e7ee1aa35e696aea02a9483cf7cb57c1b834f7f84cd3302', '\xc70e8b5bea4d5c7a410f897f0e380587', '\x10bd3e0535a702f7947cfb9777874b4d', '\x7b2273686f70223a22656e646564222c226e756d626572223a342c226e6f7465223a225c75303033635c75303032365c753030336520c3a920e6bca2205c225c5c227d', ' key="key kept"', 'host-1-abcdef', NULL, NULL, NULL, NULL, NULL, '[{"attempt":1,"run":1,"at":1767225600051,"error":"it \"failed\"\n\u0000","stack":"main.go:1"}]', '\x7b226e223a317d', NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600052, 1767225600052, 1576800000000, 1, 1767225600052, 1767225600052, 1767225600052, 14, NULL, 1576800000000, NULL, 1, 25, 3, 5, 3, NULL, false, false, false, NULL, 'rests', 'order', 'q rests', '\x3b37835a606c531a4acd18d82bcee7d9b8851b0be980c77f149997d24a621dcb', '\x85e771266b43eb92fb4033be7235802f', '\xf80cd48ed5393d575f45f220b7dfe3f3', '\x7b2273686f70223a22656e646564222c226e756d626572223a352c226e6f7465223a225c75303033635c75303032365c753030336520c3a920e6bca2205c225c5c227d', ' key="key rests"', 'host-1-abcdef', NULL, NULL, NULL, NULL, NULL, '[{"attempt":1,"run":1,"at":1767225600052,"error":"it \"failed\"\n\u0000","stack":"main.go:1"}]', '\x7b226e223a317d', NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600059, 3787009445006, 1576800000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 25, 0, 5, 3, NULL, false, false, true, NULL, 'released', 'order', 'default', '\xd5288adfd392a8ade90df9453151acd3659aeade8f262b45a87c6faa8804415b', '\x9c070269ce343afcca8b1edd94b8c403', '\x07336c6b5414c9a18f6b50233c404651', '\x7b2273686f70223a2261222c226e756d626572223a31322c226e6f7465223a22227d', ' key="released"', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO made_by_b451a97.jobs VALUES (1767225600063, 1767225600063, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1000000, 0, 5, 3, NULL, false, false, false, NULL, '01M8ES0M0E7AE8RB055RRPFNTG', 'onceq.periodic', 'onceq.periodic', '\xa08bd6c514f6eb86170e70fcf979f375003f46318e0b1ee5da7482020f1a61ab', '\xd3ed919ca2b45212522dfaf8df34776f', '\x5454df24a245712175b3101c55d644b4', '\x7b226e616d65223a226e696768746c79222c227363686564756c65223a22302033202a202a202a222c227a6f6e65223a22555443222c2263617463685f7570223a226c6174657374222c22736f75726365223a2273746f7265222c226a6f62223a7b226b696e64223a226f72646572222c227175657565223a2264656661756c74222c2261726773223a7b2273686f70223a226e222c226e756d626572223a312c226e6f7465223a22227d2c227072696f72697479223a352c226d61785f617474656d707473223a32352c22726574656e74696f6e5f6d73223a313537363830303030303030307d7d', ' key="nightly"', NULL, NULL, NULL, NULL, '{}', NULL, NULL, NULL, NULL);
--
-- Data for Name: keys; Type: TABLE DATA; Schema: made_by_b451a97; Owner: -
--

INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\x6094cbf0231123a63b8a29b98ee9d980666339ca0924417367f9d41a6f30f650', 'unique', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\x3c80fb6dee52fac00f38c8af4f2648ee752346c4f05367d2a6287c05b83aed9b', 'fields', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\xd609557d73d4f03ab099d391cd267de6f74182d2e4179429530f1bf74917814b', 'scheduled', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, 3787009445006, 1, '\xe8c8caa763e2acccab23710f0fd2541a5ed20c18e1d566c82f3d5936b741e4ec', 'until due', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, 3344025600010, 0, '\x699aac9e7f92bc0ff512db24a481df334cc59436442bd5b4001930db62c2bd73', 'window', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, 5363809445006, 3, '\x9f5ae581de7cded741c9789136d2c15c271315447772573ae86375dce46f611c', 'ttl', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\x2edb862f46593c90719497eb48d712a34c0a0750c979a38bbb1b26e05636d1e0', 'raw', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\x3f53c12d168e2093a071021b7a88aebebfa884d88afb5438f6032dce58264c5a', 'large', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\x1fef38d49d66f4ebd61635f078f8b92309f7c350f0567281d8c1afa8df473c5a', 'own key', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\x5a3fb04ef777755c6d7d08cca66342d1d51a753ee8fbeac1a5356e58a5e92726', 'replaced', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 2, '\x299300f5eaf2a5580d36b7c10143e09933ad502fb29981b6af654b154f545d56', 'debounced', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\xebc61a157b82815389ca4739443579298763e7bb24dac4b1966a45416fbed77e', 'running', 'waiter', NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\xd9782756bdce356ea43faee5dae6a677a1ee3be9a5fc78859cfd4288b2e94a32', 'supersedes', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\xdd7b2274119998b1535576aebb96200ad527ab5466d425fe675d9d57ba9001ee', 'asked to stop', 'stands behind', NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\x10343c9f6fa2349f827697b0909e8ca4f641cff4ad3c6e21247120ebadf93192', 'retryable', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 4, '\x0f8649d5394e2cd115a6535b4e15cbb1c574ac417073755c206e5cd0caca222e', 'discarded', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 6, '\x4fb696510d999fcbf5418722413244347b47bc70ae754c7f6770cb48cf9ec3cc', 'cancelled', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 5, '\xb3126185daa2f7d87e7ee1aa35e696aea02a9483cf7cb57c1b834f7f84cd3302', 'kept', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (NULL, 3344025600052, 0, '\x3b37835a606c531a4acd18d82bcee7d9b8851b0be980c77f149997d24a621dcb', 'rests', NULL, NULL);
INSERT INTO made_by_b451a97.keys VALUES (1767225600053, 3344025600053, 6, '\x51a6b34520f559533c317f33d0c8a6f70f36e892bc592d1d3adc64021559448c', 'gone', NULL, '{"kind" : "order", "queue" : "q gone", "text" : "kind=order key=\"key gone\"", "state" : 3, "digest" : "10bd3e0535a702f7947cfb9777874b4d"}');
INSERT INTO made_by_b451a97.keys VALUES (1767225600055, 3344025600055, 0, '\xc263d1d52453a8c8e48e87b9874ecdb92640a9a2bbfcef33ea9afd31553e11f4', 'deleted', NULL, '{"kind" : "order", "queue" : "q deleted", "text" : "kind=order key=\"key deleted\"", "state" : 3, "digest" : "0b9904d3b4859dc4f31b25bbc29da0ff"}');
INSERT INTO made_by_b451a97.keys VALUES (NULL, NULL, 3, '\xa08bd6c514f6eb86170e70fcf979f375003f46318e0b1ee5da7482020f1a61ab', '01M8ES0M0E7AE8RB055RRPFNTG', NULL, NULL);
--
-- Data for Name: migrations; Type: TABLE DATA; Schema: made_by_b451a97; Owner: -
--

INSERT INTO made_by_b451a97.migrations VALUES (7, 'tables', '2026-11-27 15:12:06.569209+00');
INSERT INTO made_by_b451a97.migrations VALUES (8, 'kinds', '2026-11-27 15:12:06.569209+00');
INSERT INTO made_by_b451a97.migrations VALUES (9, 'lists_and_results', '2026-11-27 15:12:06.569209+00');
--
-- Data for Name: paused; Type: TABLE DATA; Schema: made_by_b451a97; Owner: -
--

INSERT INTO made_by_b451a97.paused VALUES ('paused queue');
--
-- Data for Name: workers; Type: TABLE DATA; Schema: made_by_b451a97; Owner: -
--

INSERT INTO made_by_b451a97.workers VALUES ('host-1-abcdef', 1767312000002, 1, 1767225600002, 1767225600002, '\x7b22686f7374223a22686f7374222c22706964223a317d');
--
-- Name: jobs jobs_pkey; Type: CONSTRAINT; Schema: made_by_b451a97; Owner: -
--

ALTER TABLE ONLY made_by_b451a97.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
--
-- Name: keys keys_pkey; Type: CONSTRAINT; Schema: made_by_b451a97; Owner: -
--

ALTER TABLE ONLY made_by_b451a97.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (key);
--
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: made_by_b451a97; Owner: -
--

ALTER TABLE ONLY made_by_b451a97.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);
--
-- Name: paused paused_pkey; Type: CONSTRAINT; Schema: made_by_b451a97; Owner: -
--

ALTER TABLE ONLY made_by_b451a97.paused
    ADD CONSTRAINT paused_pkey PRIMARY KEY (queue);
--
-- Name: workers workers_pkey; Type: CONSTRAINT; Schema: made_by_b451a97; Owner: -
--

ALTER TABLE ONLY made_by_b451a97.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (name);
--
-- Name: jobs_behind; Type: INDEX; Schema: made_by_b451a97; Owner: -
--

CREATE INDEX jobs_behind ON made_by_b451a97.jobs USING btree (queue, id) WHERE (behind IS NOT NULL);
--
-- Name: jobs_finished; Type: INDEX; Schema: made_by_b451a97; Owner: -
--

CREATE INDEX jobs_finished ON made_by_b451a97.jobs USING btree (((finished_at + COALESCE(retention, (86400000)::bigint)))) WHERE (state >= 3);
--
-- Name: jobs_kinds; Type: INDEX; Schema: made_by_b451a97; Owner: -
--

CREATE INDEX jobs_kinds ON made_by_b451a97.jobs USING btree (hashtextextended(kind, hashtextextended(queue, (0)::bigint)), ((run_at + ((priority)::bigint << 48)))) WITH (fillfactor='100') WHERE ((state <= 1) AND (behind IS NULL));
--
-- Name: jobs_other; Type: INDEX; Schema: made_by_b451a97; Owner: -
--

CREATE INDEX jobs_other ON made_by_b451a97.jobs USING btree (id) WHERE (state = ANY (ARRAY[1, 4, 5]));
--
-- Name: jobs_running; Type: INDEX; Schema: made_by_b451a97; Owner: -
--

CREATE INDEX jobs_running ON made_by_b451a97.jobs USING btree (worker, fetch_no) WHERE (state = 2);
--
-- Name: jobs_states; Type: INDEX; Schema: made_by_b451a97; Owner: -
--

CREATE INDEX jobs_states ON made_by_b451a97.jobs USING btree (queue, state) WHERE (state = ANY (ARRAY[1, 3, 4, 5]));
--
-- Name: jobs_waiting; Type: INDEX; Schema: made_by_b451a97; Owner: -
--

CREATE INDEX jobs_waiting ON made_by_b451a97.jobs USING btree (queue, ((((priority)::bigint << 48) + run_at)), id) WITH (fillfactor='100') WHERE ((state <= 1) AND (behind IS NULL));
--
-- Name: keys_clock; Type: INDEX; Schema: made_by_b451a97; Owner: -
--

CREATE INDEX keys_clock ON made_by_b451a97.keys USING btree (frees_at) WHERE (frees_at IS NOT NULL);
--
-- PostgreSQL database dump complete
--


