select * from {ns}.insert_one_v1($1::text, $2::text, $3::bytea, $4::text, $5::text, $6::bytea, $7::text, $8::text, $9::bytea, $10::text,
  $11::bytea, $12::bigint[])
