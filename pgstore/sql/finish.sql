select id, status, state, wake from {ns}.finish_v2($1::integer, $2, $3::boolean, $4, $5::bigint[],
  $6, $7::bigint[], $8::smallint[], $9::bigint[], $10::boolean[], $11, $12)
