-- Every queue that has a job or is paused, with a row for each state that is shown.
with t as materialized (select {ns}.clock_v1() as now)
select q.queue, exists (select from {ns}.paused p where p.queue = q.queue) as paused, q.shown, q.n, q.oldest
from (
  select j.queue, {ns}.shown_v1(j.state, j.behind, j.run_at, t.now) as shown, count(*) as n, min(j.run_at) as oldest
  from t cross join {ns}.jobs j group by 1, 2
  union all
  select p.queue, null, 0, null from {ns}.paused p
) q
order by q.queue
