-- One key with its effective holder, as keys does.
with t as materialized (select {ns}.clock_v1() as now),
looked as materialized (
  select k.*, t.now, k.frees_at <= t.now and k.next is null as inert, k.frees_at <= t.now and k.next is not null as settled
  from t cross join lateral (select * from {ns}.keys k where k.key = $1::bytea) k
)
select l.key, l.now, l.inert, case when l.settled then l.next else l.holder end as holder, case when l.settled then null else l.next end as waiter,
  case when l.settled then l.frees_at else l.since end as since,
  case when l.settled then 9223372036854775807 else l.frees_at end as frees_at,
  {ns}.named_v1(case when l.settled then {ns}.pending_v1(h.hold_until) else l.pending end, h.behind, h.run, h.run_at, l.now) as pending,
  h.id is null as gone,
  coalesce(h.kind, l.gone ->> 'kind') as kind, coalesce(h.queue, l.gone ->> 'queue') as queue,
  coalesce(h.key_text, l.gone ->> 'text') as text,
  case when h.id is null then (l.gone ->> 'state')::smallint else {ns}.shown_v1(h.state, h.behind, h.run_at, l.now) end as state,
  case when h.id is null then decode(l.gone ->> 'digest', 'hex') else h.digest end as digest
from looked l
left join lateral (select * from {ns}.jobs h
  where h.id = case when l.settled then l.next else l.holder end and h.key = l.key and (l.gone is null or l.settled) limit 1) h on true
order by l.key
