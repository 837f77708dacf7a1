-- A notification that a crash forgets is one that polling makes up for: it waits for no disk.
select pg_notify($1::text, x) from unnest($2::text[]) as x where set_config('synchronous_commit', 'off', true) is not null
