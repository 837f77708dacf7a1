-- enqueue_act for database/sql, whose drivers agree on nothing but text.
select * from {ns}.act_v1(null, $1::text::text[], $2::text::bytea[], $3::text::text[], $4::text::text[], $5::text::bytea[], $6::text::text[],
  $7::text::text[], $8::text::bytea[], $9::text::text[], $10::text::bytea[], $11::text::bigint[], $12::text, $13::text)
