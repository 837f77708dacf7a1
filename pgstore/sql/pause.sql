insert into {ns}.paused (queue, until)
  values ($1, coalesce({ns}.clock_v1() operator(pg_catalog.+) $2::bigint, {never}))
  on conflict (queue) do update set until = excluded.until
