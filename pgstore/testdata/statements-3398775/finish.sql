select id, status, state, wake from {ns}.finish_v1($1::integer, $2::text, $3::boolean, $4::text[], $5::bigint[],
  $6::text[], $7::bigint[], $8::smallint[], $9::bigint[], $10::boolean[], $11::text[])
