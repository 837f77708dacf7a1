select i, status, state, wake from {ns}.finish_v1($1::integer, $2::text, $3::boolean, $4::text[], $5::bigint[], $6::smallint[], $7::bigint[], $8::boolean[],
  $9::text[])
