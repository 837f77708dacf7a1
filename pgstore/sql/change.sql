select * from {ns}.change_v2($1::integer, $2::integer, $3, $4::smallint[], $5::boolean, $6, $7::bigint,
  $8::bigint, $9::bigint)
