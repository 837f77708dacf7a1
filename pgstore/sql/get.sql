select (select {ns}.clock_v1()) as now, j
from unnest($1::text[]) as r(id) join {ns}.jobs j on j.id = r.id
