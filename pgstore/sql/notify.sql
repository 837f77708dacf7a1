-- This need not survive a crash, because polling makes up for it: it does
-- not wait for the disk.
select pg_catalog.pg_notify($1, x) from pg_catalog.unnest($2::pg_catalog.text[]) as x
where pg_catalog.set_config('synchronous_commit', 'off', true) is not null
