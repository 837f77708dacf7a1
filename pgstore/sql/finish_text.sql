-- finish for database/sql, whose drivers agree only on text.
select id, status, state, wake from {ns}.finish_v2(null, $1::pg_catalog.text, $2::pg_catalog.text::boolean,
  $3::pg_catalog.text::pg_catalog.text[], $4::pg_catalog.text::bigint[], $5::pg_catalog.text::pg_catalog.text[],
  $6::pg_catalog.text::bigint[], $7::pg_catalog.text::smallint[], $8::pg_catalog.text::bigint[],
  $9::pg_catalog.text::boolean[], $10::pg_catalog.text::pg_catalog.text[],
  $11::pg_catalog.text::pg_catalog.bytea[])
