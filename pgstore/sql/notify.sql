-- A notification that a crash forgets is one that polling makes up for: it waits for no disk.
select pg_catalog.pg_notify($1, x) from pg_catalog.unnest($2::pg_catalog.text[]) as x
where pg_catalog.set_config('synchronous_commit', 'off', true) is not null
