-- A page of the jobs that match, from the largest ID down. It looks at a bounded number of rows: last is the ID it has come to, or null
-- where there are no more.
with t as materialized (select {ns}.clock_v1() as now),
looked as materialized (
  select j.id, {ns}.shown_v1(j.state, j.behind, j.run_at, t.now) as shown, j.queue, j.kind, j.key
  from t cross join lateral (select * from {ns}.jobs j where $1::text = '' or j.id < $1::text order by j.id desc limit $2::integer) j
),
matching as materialized (
  select id from looked
  where ($3::smallint is null or shown = $3::smallint) and ($4::text = '' or queue = $4::text) and ($5::text = '' or kind = $5::text)
    and ($6::bytea is null or key = $6::bytea)
  order by id desc limit $7::integer
)
select t.now, (select count(*) from looked) as looked, (select min(id) from looked) as last, j
from t left join matching m on true left join {ns}.jobs j on j.id = m.id
order by j.id desc
