select * from {ns}.list_v3($1, $2::integer, $3::integer, $4::integer, $5::integer, $6, $7, $8, $9, $10, $11::bigint,
  $12::bigint, $13::integer, $14::bigint, $15::boolean)
