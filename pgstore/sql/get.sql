select (select {ns}.clock_v1()) as now, {job j}
from unnest($1::text[]) as r(id) cross join lateral (select * from {ns}.jobs j where j.id = r.id limit 1) j
