-- enqueue_act for database/sql, whose drivers agree only on text.
select * from {ns}.act_v1(null,
  $1::pg_catalog.text::pg_catalog.text[], $2::pg_catalog.text::pg_catalog.bytea[],
    $3::pg_catalog.text::pg_catalog.text[], $4::pg_catalog.text::pg_catalog.text[],
      $5::pg_catalog.text::pg_catalog.bytea[], $6::pg_catalog.text::pg_catalog.text[],
  $7::pg_catalog.text::pg_catalog.text[], $8::pg_catalog.text::pg_catalog.bytea[],
    $9::pg_catalog.text::pg_catalog.text[], $10::pg_catalog.text::pg_catalog.bytea[], $11::pg_catalog.text::bigint[],
      $12::pg_catalog.text, $13::pg_catalog.text)
