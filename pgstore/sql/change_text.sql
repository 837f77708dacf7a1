-- change for database/sql, whose drivers agree only on text.
select * from {ns}.change_v2(null, $1::pg_catalog.text::integer, $2::pg_catalog.text::pg_catalog.text[],
  $3::pg_catalog.text::smallint[], $4::pg_catalog.text::boolean, $5::pg_catalog.text, $6::pg_catalog.text::bigint,
  $7::pg_catalog.text::bigint, $8::pg_catalog.text::bigint)
