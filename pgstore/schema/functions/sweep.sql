-- Tidies. It passes over what others have locked. It returns, in what,
--
--   sweep_expired  a worker whose lease is over; n is its beat, or unknown_beat
--                  for one that has runs and is not known
--   sweep_run      a run of a worker that is confirmed lost
--   sweep_jobs     n jobs were pruned
--   sweep_keys     n keys were dropped
--   sweep_more     there was more
create or replace function {ns}.sweep_v1(most integer, lost text[], beats bigint[]) returns setof {ns}.swept_v1
  language plpgsql {hot} as $$
declare
  now bigint := {ns}.clock_v1();
  x integer;
  taken integer := 0;
  got integer;
  more boolean := false;
begin
  {guard}
  for x in 1..coalesce(cardinality(lost), 0) loop
    if exists (select from {ns}.workers w where w.name = lost[x] and (w.beat <> beats[x] or w.lease_ends > now))
      or beats[x] <> {unknown_beat} and not exists (select from {ns}.workers w where w.name = lost[x]) then
      continue;
    end if;
    return query select {sweep_run}, lost[x], now, 0::bigint, {bare j} from {ns}.jobs j
      where j.state = {running} and j.worker = lost[x]
      order by j.id limit most - taken;
    get diagnostics got = row_count;
    taken := taken + got;
    if not exists (select from {ns}.jobs j where j.state = {running} and j.worker = lost[x]) then
      delete from {ns}.workers w where w.name = lost[x] and w.beat = beats[x] and w.lease_ends <= now;
    elsif taken = most and (select count(*) from {ns}.jobs j
      where j.state = {running} and j.worker = lost[x]) > got then
      more := true;
    end if;
  end loop;
  return query select {sweep_expired}, w.name, now, w.beat, null::{ns}.jobs
    from {ns}.workers w where w.lease_ends <= now;
  return query select {sweep_expired}, s.worker, now, {unknown_beat}::bigint, null::{ns}.jobs
    from (select distinct j.worker from {ns}.jobs j where j.state = {running}) s
    where not exists (select from {ns}.workers w where w.name = s.worker);

  -- Finished jobs whose retention is over. With a TTL the key stays, and
  -- keeps what is known of its holder; without one this is the event.
  with l as materialized (
    select j.ctid as tid, {bare j} as job, j.id, j.key, j.enqueued_at, j.hold_window, j.hold_ttl, j.anchor,
      j.finished_at from {ns}.jobs j
        where j.state >= {completed} and j.finished_at + {kept j} <= now
    order by j.finished_at + {kept j} limit most + 1 for update skip locked
  ), p as materialized (
    select * from l limit most
  ), h as (
    select k.tid, p.enqueued_at, {ns}.gone_v1(p.job) as gone,
      case when pruned then {until_came}::smallint else k.pending end as pending,
      case when pruned then {ns}.rest_v1(p.hold_window, p.hold_ttl, p.anchor) else k.frees_at end as frees_at
    from p
    cross join lateral (select k.ctid as tid, k.pending, k.frees_at from {ns}.keys k
      where p.key is not null and k.key = p.key and k.holder = p.id and k.gone is null and k.next is null
        and (k.frees_at is null or k.frees_at > now) limit 1) k
    cross join lateral (select p.hold_ttl is null and k.pending <> {until_came} as pruned) q
  ), freed as (
    delete from {ns}.keys k using h where k.ctid = h.tid and h.frees_at <= now
  ), kept as (
    update {ns}.keys k set pending = h.pending, frees_at = h.frees_at, since = coalesce(k.since, h.enqueued_at),
      gone = h.gone
    from h where k.ctid = h.tid and (h.frees_at is null or h.frees_at > now)
  ), d as (
    delete from {ns}.jobs j using p where j.ctid = p.tid returning 1
  )
  select (select count(*) from d), more or (select count(*) from l) > most into got, more;
  return query select {sweep_jobs}, null::text, now, got::bigint, null::{ns}.jobs;

  with l as materialized (
    select k.ctid as tid from {ns}.keys k where k.frees_at <= now and k.next is null
    order by k.frees_at limit most + 1 for update skip locked
  ), d as (
    delete from {ns}.keys k using (select * from l limit most) x where k.ctid = x.tid returning 1
  )
  select (select count(*) from d), more or (select count(*) from l) > most into got, more;
  return query select {sweep_keys}, null::text, now, got::bigint, null::{ns}.jobs;
  delete from {ns}.notes n where n.ends <= now;
  delete from {ns}.paused p where p.until <= now;
  if more then
    return query select {sweep_more}, null::text, now, 0::bigint, null::{ns}.jobs;
  end if;
end $$;
