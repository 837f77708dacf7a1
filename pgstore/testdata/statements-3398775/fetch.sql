select * from {ns}.fetch_v1($1::text, $2::bigint, $3::text[], $4::integer[], $5::text[], $6::bigint[])
