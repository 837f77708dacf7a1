select pg_notify($1::text, x) from unnest($2::text[]) as x
