select * from {ns}.act_v1($1::integer, $2::text[], $3::bytea[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[], $9::bytea[],
  $10::text[], $11::bytea[], $12::bigint[], $13::text, $14::text)
